"""BatchNormalization after convolutions that have lost theirs, for retraining.

Exporters fold normalisation into weights, and a folded net retrains badly. `insert_batchnorm`
puts y = γ (x − μ) / √(σ² + ε) + β behind a convolution; with γ, β the standard deviation and
mean of the unpruned layer's output, and μ, σ² those of the pruned one, each channel keeps the
distribution that the next layer expects. The convolution's output tensor keeps its name at the
far side of the new node, so consumers and graph outputs do not change. `fold_batchnorm`
(`onnxprune.bridge.fold`) undoes it.

Behind a normalisation the length of a filter w is free: the output depends on its direction
alone, and a gradient step of rate η turns it by an angle in proportion to η / ‖w‖². Folding has
left filters of any length, often long ones that hardly turn at the rates that suited the original.
`filter_norm` gives all of them one length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.filters import filter_norms, is_shared, output_channels, scaled_filters
from onnxprune.core.errors import ModelError
from onnxprune.graph import Model
from onnxprune.ops.base import describe, input_name

__all__ = ["EPSILON", "BatchNorm", "batchnorm_obstacle", "insert_batchnorm", "is_inserted"]

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


def batchnorm_obstacle(model: Model, node: gs.Node) -> str:
    """Returns why no normalisation can be inserted behind `node` and folded back, or ""."""
    if node.op not in ("Conv", "ConvTranspose"):
        return f"{describe(node)} is not a convolution"
    known = model.initializers()
    weight = input_name(node, 1)
    if weight not in known or (input_name(node, 2) and input_name(node, 2) not in known):
        return f"{describe(node)} computes its weight or bias at run time"
    if is_shared(model, weight):
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


def insert_batchnorm(model: Model, values: Mapping[str, BatchNorm], *, filter_norm: float | None = None) -> Model:
    """Returns a copy of `model` with a BatchNormalization behind each given convolution.

    Args:
        model: The model; not changed.
        values: Name of a Conv or ConvTranspose, or of its output tensor → the normalisation.
        filter_norm: L2 norm that every filter gets, above zero; the running statistics change with
            it, so the model computes the same. None leaves filters as they are, and so are those
            that are zero or have a bias that others read.

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
        node = by_name[name]
        _insert(copy, node, value if filter_norm is None else _rescale(copy, node, value, filter_norm))
    return copy


def _rescale(model: Model, node: gs.Node, value: BatchNorm, norm: float) -> BatchNorm:
    """Gives the filters of `node` a norm; returns the normalisation that makes up for it."""
    name, bias = node.inputs[1].name, input_name(node, 2)
    if bias and is_shared(model, bias):
        return value
    stored = np.asarray(model.read(name))
    weight = stored.astype(np.float64)
    norms = filter_norms(node, weight)
    factor = np.divide(norm, norms, out=np.ones_like(norms), where=norms > 0)
    model.replace(name, scaled_filters(node, weight, factor).astype(stored.dtype))
    if bias:
        shift = np.asarray(model.read(bias))
        model.replace(bias, (shift * factor).astype(shift.dtype))
    var = value.var * factor**2
    # ε does not scale with the filter; γ makes up for it, or hardly varying channels would change
    scale = value.scale * np.sqrt((var + EPSILON) / (value.var + EPSILON)) / factor
    return replace(value, scale=scale, mean=value.mean * factor, var=var)


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
