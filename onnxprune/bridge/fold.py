"""Inserted BatchNormalization folded back into the convolution before it.

    γ (W x + b − μ) / √(σ² + ε) + β  =  (a W) x + a (b − μ) + β,   a = γ / √(σ² + ε),

with a along the output channels of W. Worked out in float64 and stored in W's element type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.batchnorm import is_inserted
from onnxprune.bridge.filters import is_shared, scaled_filters
from onnxprune.core.errors import InternalError
from onnxprune.graph import Model
from onnxprune.ops.base import attribute, describe, input_name

__all__ = ["fold_batchnorm"]

Float64 = NDArray[np.float64]


def fold_batchnorm(model: Model) -> Model:
    """Returns a copy of `model` without the normalisations that `insert_batchnorm` made.

    Convolutions keep their node, weight and output names. One without a bias, or with a bias
    that others read, gets a bias of its own named "<output>__bias". Other BatchNormalization
    nodes are left as they are.
    """
    copy = model.copy()
    for norm in [node for node in copy.nodes if is_inserted(node)]:
        _fold(copy, norm)
    return copy


def _fold(model: Model, norm: gs.Node) -> None:
    conv = next((node for node in model.nodes if any(t is norm.inputs[0] for t in node.outputs)), None)
    if conv is None:
        raise InternalError(f"{describe(norm)} was inserted behind a convolution that is gone")
    scale, shift, mean, var = (_float64(model, tensor.name) for tensor in norm.inputs[1:])
    factor = scale / np.sqrt(var + float(attribute(norm, "epsilon", 1e-5)))
    weight = conv.inputs[1].name
    dtype = np.dtype(conv.inputs[1].dtype)
    model.replace(weight, scaled_filters(conv, _float64(model, weight), factor).astype(dtype))
    name = input_name(conv, 2)
    bias = _float64(model, name) if name else np.zeros_like(mean)
    _set_bias(model, conv, norm.outputs[0].name, (factor * (bias - mean) + shift).astype(dtype))
    output = norm.outputs[0]
    norm.inputs.clear()
    norm.outputs.clear()
    conv.outputs = [output]
    model.graph.nodes.remove(norm)


def _float64(model: Model, name: str) -> Float64:
    return np.asarray(model.read(name)).astype(np.float64)


def _set_bias(model: Model, conv: gs.Node, output: str, value: NDArray[Any]) -> None:
    name = input_name(conv, 2)
    if name and not is_shared(model, name):
        model.replace(name, value)
        return
    own = gs.Constant(f"{output}__bias", value)
    if len(conv.inputs) > 2:
        conv.inputs[2] = own
    else:
        conv.inputs.append(own)
