"""What the student is trained for: the teacher's outputs, and labels where there are any.

Class scores z [batch, classes] of student and teacher, with temperature τ and p = softmax(z/τ):

    L_soft = τ² · KL(p_teacher ‖ p_student)               (Hinton, Vinyals, Dean 2015, section 2)
    L_hard = cross-entropy(z_student, label)
    L      = (1 − λ) L_hard + λ L_soft,   λ = 1 without labels

Any other float output y is matched by its squared error over the teacher's variance, so that
outputs of different scale weigh alike. The losses of several outputs add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, ModelError
from onnxprune.train.options import TrainOptions

__all__ = ["Objective", "OutputKind", "as_tuple"]

OutputKind = Literal["classes", "probabilities", "values", "ignored"]
_SMALLEST = 1e-12


def as_tuple(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Returns a module's outputs as a tuple, one or several."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


class Objective:
    """The loss and the score of a student.

    Args:
        teacher: Tells which outputs are probabilities.
        outputs: Its outputs for some batch.
        options: Weights and temperature.

    Raises:
        ModelError: when no output is a float tensor.

    Attributes:
        kinds: What each output is taken for.
        classes: Index of the output that labels speak of, or None.
    """

    def __init__(self, teacher: OnnxModule, outputs: Sequence[torch.Tensor], options: TrainOptions) -> None:
        self._options = options
        self.kinds = tuple(
            _kind(tensor, teacher.producer(name)) for name, tensor in zip(teacher.output_names, outputs, strict=True)
        )
        scored = [i for i, kind in enumerate(self.kinds) if kind in ("classes", "probabilities")]
        self.classes: int | None = scored[0] if scored else None
        if all(kind == "ignored" for kind in self.kinds):
            raise ModelError(
                f"None of the outputs {', '.join(teacher.output_names)} is a float tensor, so there is nothing to "
                "train towards. Prune without retraining."
            )

    def loss(
        self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], labels: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns the loss of a batch, a scalar with gradient.

        Args:
            student: Its outputs.
            teacher: Its outputs for the same samples.
            labels: int64 [batch], or None.

        Raises:
            DataError: when a label is beyond the number of classes.
        """
        total = torch.zeros((), device=student[0].device)
        for i, kind in enumerate(self.kinds):
            if kind == "ignored":
                continue
            if kind == "values":
                total = total + _scaled_error(student[i], teacher[i])
                continue
            z, target = self._scores(i, student), self._scores(i, teacher)
            soft = self._soft(z, target)
            total = total + (self._mixed(soft, z, labels) if labels is not None and i == self.classes else soft)
        return total

    def score(
        self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], labels: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns how good a batch is, summed over samples; higher is better.

        Hits on the labels, or on the teacher's choice without labels; minus the loss where
        the model gives no classes.
        """
        if self.classes is None:
            return -self.loss(student, teacher, None) * len(student[0])
        aim = labels if labels is not None else teacher[self.classes].argmax(1)
        return (student[self.classes].argmax(1) == aim).sum()

    def metric_name(self, labelled: bool) -> str:
        """Returns what `score` measures: "accuracy", "agreement" or "negative loss"."""
        if self.classes is None:
            return "negative loss"
        return "accuracy" if labelled else "agreement"

    def _scores(self, index: int, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        values = outputs[index].float()
        return values.clamp_min(_SMALLEST).log() if self.kinds[index] == "probabilities" else values

    def _soft(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        tau = self._options.temperature
        log_p, log_q = F.log_softmax(student / tau, 1), F.log_softmax(teacher / tau, 1)
        return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * tau**2

    def _mixed(self, soft: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        classes = scores.shape[1]
        if int(labels.max()) >= classes:
            raise DataError(
                f"Label {int(labels.max())} is out of range: the model gives {classes} classes, 0..{classes - 1}."
            )
        hard = F.cross_entropy(scores, labels, label_smoothing=self._options.label_smoothing)
        share = self._options.distill_weight
        return (1 - share) * hard + share * soft


def _kind(tensor: torch.Tensor, producer: str) -> OutputKind:
    if not tensor.is_floating_point():
        return "ignored"
    if tensor.dim() != 2 or tensor.shape[1] < 2:
        return "values"
    if producer == "Softmax":
        return "probabilities"
    return "values" if producer == "Sigmoid" else "classes"


def _scaled_error(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    target = teacher.float()
    spread = (target - target.mean()).square().mean()
    return (student.float() - target).square().mean() / spread.clamp_min(_SMALLEST)
