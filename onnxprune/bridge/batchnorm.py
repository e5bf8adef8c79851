"""BatchNormalization after convolutions that have lost theirs, for retraining.

Exporters fold normalisation into weights, and a folded net retrains badly. `insert_batchnorm`
puts y = γ (x − μ) / √(σ² + ε) + β behind a convolution; with γ, β the standard deviation and
mean of the unpruned layer's output, and μ, σ² those of the pruned one, each channel keeps the
distribution that the next layer expects. The convolution's output tensor keeps its name at the
far side of the new node, so consumers and graph outputs do not change. `fold_batchnorm`
(`onnxprune.bridge.fold`) undoes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.core.errors import ModelError
from onnxprune.graph import Model
from onnxprune.ops.base import attribute, describe, input_name

__all__ = ["EPSILON", "BatchNorm", "batchnorm_obstacle", "insert_batchnorm", "is_inserted", "output_channels"]

EPSILON = 1e-5
_FIELDS = ("scale", "shift", "mean", "var")


@dataclass(frozen=True)
class BatchNorm:
    """The four vectors of a normalisation, float [channels] each.

    Attributes:
        scale: γ, such as the standard deviation of the unpruned layer's output.
        shift: β, such as its mean.
        mean: The running mean μ.
        var: The running variance σ².
    """

    scale: NDArray[np.floating[Any]]
    shift: NDArray[np.floating[Any]]
    mean: NDArray[np.floating[Any]]
    var: NDArray[np.floating[Any]]

    @classmethod
    def matching(cls, mean: NDArray[np.float64], var: NDArray[np.float64]) -> BatchNorm:
        """Returns the normalisation that gives its output these moments, and starts as the identity."""
        return cls(np.sqrt(var + EPSILON), mean, mean, var)


def output_channels(node: gs.Node) -> int:
    """Returns the number of output channels of a Conv or ConvTranspose with a constant weight."""
    shape = node.inputs[1].shape
    return int(shape[1]) * int(attribute(node, "group", 1)) if node.op == "ConvTranspose" else int(shape[0])


def batchnorm_obstacle(model: Model, node: gs.Node) -> str:
    """Returns why no normalisation can be inserted behind `node` and folded back, or ""."""
    if node.op not in ("Conv", "ConvTranspose"):
        return f"{describe(node)} is not a convolution"
    known = model.initializers()
    weight = input_name(node, 1)
    if weight not in known or (input_name(node, 2) and input_name(node, 2) not in known):
        return f"{describe(node)} computes its weight or bias at run time"
    uses = sum(tensor.name == weight for other in model.nodes for tensor in other.inputs)
    if uses > 1 or any(spec.name == weight for spec in model.outputs()):
        return f"{describe(node)} shares its weight {weight!r}"
    consumers = [other for other in model.nodes if any(t.name == node.outputs[0].name for t in other.inputs)]
    if len(consumers) == 1 and consumers[0].op == "BatchNormalization":
        return f"{describe(node)} is followed by a BatchNormalization"
    return ""


def is_inserted(node: gs.Node) -> bool:
    """Returns whether `node` is a normalisation that `insert_batchnorm` made."""
    name = node.outputs[0].name if node.outputs else ""
    expected = [f"{name}__bn_input", *(f"{name}__bn_{field}" for field in _FIELDS)]
    return node.op == "BatchNormalization" and [tensor.name for tensor in node.inputs] == expected


def insert_batchnorm(model: Model, values: Mapping[str, BatchNorm]) -> Model:
    """Returns a copy of `model` with a BatchNormalization behind each given convolution.

    Args:
        model: The model; not changed.
        values: Name of a Conv or ConvTranspose, or of its output tensor → the normalisation.

    Raises:
        ModelError: when a name is unknown, a convolution cannot have one, or a vector does
            not have one value per output channel.
    """
    copy = model.copy()
    by_name: dict[str, gs.Node] = {}
    for node in copy.nodes:
        by_name.setdefault(node.outputs[0].name if node.outputs else "", node)
        by_name.setdefault(node.name or "", node)
    for name, value in values.items():
        if not name or name not in by_name:
            raise ModelError(f"There is no convolution called {name!r}, and none that computes {name!r}.")
        obstacle = batchnorm_obstacle(copy, by_name[name])
        if obstacle:
            raise ModelError(f"No BatchNormalization can be inserted: {obstacle}.")
        _insert(copy, by_name[name], value)
    return copy


def _insert(model: Model, node: gs.Node, value: BatchNorm) -> None:
    output, channels = node.outputs[0], output_channels(node)
    dtype = np.dtype(node.inputs[1].dtype)
    constants: list[gs.Tensor] = []
    for field in _FIELDS:
        vector = np.asarray(getattr(value, field))
        if vector.shape != (channels,):
            raise ModelError(
                f"{describe(node)} has {channels} output channels; the {field} of its BatchNormalization has shape "
                f"{vector.shape}."
            )
        constants.append(gs.Constant(f"{output.name}__bn_{field}", vector.astype(dtype)))
    raw = gs.Variable(f"{output.name}__bn_input", dtype=output.dtype, shape=output.shape)
    node.outputs = [raw]
    norm = gs.Node(
        "BatchNormalization",
        name=f"{node.name or output.name}__bn",
        attrs={"epsilon": EPSILON},
        inputs=[raw, *constants],
        outputs=[output],
    )
    position = next(i for i, other in enumerate(model.graph.nodes) if other is node)
    model.graph.nodes.insert(position + 1, norm)
