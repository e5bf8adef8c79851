"""insert_batchnorm: lends a folded, pruned net its normalisation for retraining.

Behind each convolution that lost channels goes a moment-matched BatchNormalization: γ and β
are the standard deviation and mean of the unpruned layer's output on calibration data, for the
channels that stay; the running statistics are those of the pruned net. It gives most of the
accuracy back before the first step, and is folded away again at export.

Filters get one length, `FILTER_NORM`: what they have at most in nets that were trained with normalisation, so that
learning rates known from there do not turn them faster than those. A net that lost little then keeps what it knows, and
one that lost much learns as well as with shorter filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.axes import keep_mask
from onnxprune.bridge import BatchNorm, batchnorm_obstacle, insert_batchnorm, moments, to_torch
from onnxprune.bridge.moments import Moments
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.groups import Analysis, node_label
from onnxprune.groups.masking import plan_masks
from onnxprune.train.batching import calibration_inputs
from onnxprune.train.bench import take_samples
from onnxprune.train.samples import Samples

__all__ = ["CALIBRATION_SAMPLES", "FILTER_NORM", "InsertBatchnorm", "identity_norms"]

CALIBRATION_SAMPLES = 1024
FILTER_NORM = 1.0


@dataclass(frozen=True)
class InsertBatchnorm(Pass):
    """Edits "slim".

    Attributes:
        seed: Draws the calibration samples.
        everywhere: Whether convolutions that lost nothing get one, too; each is then the identity
            at first, and no plan is asked for.
    """

    seed: int = 0
    everywhere: bool = False

    name = "insert_batchnorm"
    needs = ("slim", "data")
    edits = ("slim",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Inserts."""
        slim = bench.take("slim", Model)
        if self.everywhere:
            return {"slim": identity_norms(slim, take_samples(bench, "data"), self.seed)}
        analysis, plan = bench.take("analysis", Analysis), bench.take("plan", Plan)
        masks = plan_masks(analysis, plan)
        values = {}
        outputs, data = self._outputs(slim, analysis, plan), take_samples(bench, "data")
        unpruned = _moments(bench.take("working", Model), outputs, data, self.seed)
        for name, (mean, var) in unpruned.items():
            keep = keep_mask(analysis.inference.axes(name)[1], masks)
            values[name] = BatchNorm.matching(mean[keep], var[keep])
        return {"slim": insert_batchnorm(slim, values, filter_norm=FILTER_NORM)}

    @staticmethod
    def _outputs(slim: Model, analysis: Analysis, plan: Plan) -> list[str]:
        """Output tensors of the convolutions that lost channels or tiles, and that can take a norm."""
        shortened = {layer.node for layer in plan.tiling.layers} | {
            member.node
            for group in analysis.groups
            if len(plan.kept[group.name]) < group.size
            for member in group.members
        }
        return [
            node.outputs[0].name
            for node in slim.nodes
            if node_label(node) in shortened and not batchnorm_obstacle(slim, node)
        ]


def identity_norms(model: Model, data: Samples, seed: int) -> Model:
    """Returns a copy with a BatchNormalization behind every convolution that can have one, the identity at first.

    Args:
        model: The model.
        data: Samples whose moments become the running statistics.
        seed: Draws them.
    """
    outputs = [node.outputs[0].name for node in model.nodes if not batchnorm_obstacle(model, node)]
    norms = {name: BatchNorm.matching(*each) for name, each in _moments(model, outputs, data, seed).items()}
    return insert_batchnorm(model, norms, filter_norm=FILTER_NORM)


def _moments(model: Model, outputs: Sequence[str], data: Samples, seed: int) -> Moments:
    if not outputs:
        return {}
    module = to_torch(model)
    inputs = calibration_inputs(module, data, CALIBRATION_SAMPLES, np.random.default_rng(seed))
    return moments(module, outputs, inputs)
