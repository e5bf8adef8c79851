"""How good the student is on data that it is not trained on."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from onnxprune.bridge import OnnxModule
from onnxprune.train.feeding import Feeder
from onnxprune.train.forward import padded
from onnxprune.train.losses import Objective
from onnxprune.train.samples import Samples
from onnxprune.train.teacher import TeacherOutputs
from onnxprune.train.workers import Workers

__all__ = ["evaluate"]


def evaluate(
    student: OnnxModule,
    values: Mapping[str, torch.Tensor],
    data: Samples,
    targets: TeacherOutputs,
    objective: Objective,
    feeder: Feeder,
    batch_size: int,
    team: Workers,
    fixed: int | None = None,
) -> float:
    """Returns the mean score per sample, the same in every process; higher is better.

    It is computed in the weights' own precision, as the written model will.

    Args:
        student: Ends in evaluation mode.
        values: Stand in for its parameters and buffers of their names.
        data: Read in its stored order.
        targets: The teacher's outputs.
        objective: Gives the score.
        feeder: Makes tensors of batches.
        batch_size: Samples at a time, over all processes.
        team: The processes; each takes its part.
        fixed: Samples that both models take at once, where they take no other number.
    """
    student.eval()
    total = torch.zeros((), dtype=torch.float64, device=feeder.device)
    with torch.no_grad(), feeder.ahead(data.batches(batch_size, shard=(team.rank, team.size))) as batches:
        for host in batches:
            if len(host):
                fed = feeder.place(host)
                outputs = padded(student, fed.inputs, objective.features, values, rows=fixed)
                score = objective.score(outputs, targets(fed, fed.inputs, fixed), fed.labels)
                total += score.to(total.device, total.dtype)
    return float(team.total(total)) / len(data)
