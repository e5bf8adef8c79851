"""Dense layers with empty tiles, to be written in the forms that the export knows, and what they should compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
from block_sparse_cases import ELEMENTS
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnxprune.core.tiling import TiledLayer

__all__ = ["OPERATORS", "dense_model", "expected", "layer_of"]

OPERATORS = ("Conv", "MatMul", "Gemm")
INPUTS, OUTPUTS, BLOCK, TILE = 10, 14, 4, 6  # both are cut short


def layer_of(operator: str) -> TiledLayer:
    kept = ((0, 2), (1, 2), (0, 1))
    kind = "Conv" if operator == "Conv" else "MatMul"
    return TiledLayer("layer", "w", kind, 0 if operator == "MatMul" else 1, INPUTS, OUTPUTS, BLOCK, TILE, kept)


def dense_model(operator: str, dtype: str, opset: int = 18) -> tuple[onnx.ModelProto, NDArray[Any]]:
    """Returns a layer with bias and activation, and an input."""
    rng, layer = np.random.default_rng(0), layer_of(operator)
    shape = {"Conv": (OUTPUTS, INPUTS, 3, 3), "MatMul": (INPUTS, OUTPUTS), "Gemm": (OUTPUTS, INPUTS)}[operator]
    weight = np.where(layer.weight_mask(), rng.standard_normal(shape) / 4, 0.0).astype(dtype)
    bias = rng.standard_normal(OUTPUTS).astype(dtype)
    x = rng.standard_normal((2, INPUTS, 6, 5) if operator == "Conv" else (5, INPUTS)).astype(dtype)
    nodes = {
        "Conv": [helper.make_node("Conv", ["x", "w", "b"], ["h"], "layer", pads=[1, 0, 1, 1], strides=[1, 2])],
        "MatMul": [
            helper.make_node("MatMul", ["x", "w"], ["m"], "layer"),
            helper.make_node("Add", ["m", "b"], ["h"], "bias"),
        ],
        "Gemm": [helper.make_node("Gemm", ["x", "w", "b"], ["h"], "layer", transB=1)],
    }[operator]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Relu", ["h"], ["y"], "activation")],
        "g",
        [helper.make_tensor_value_info("x", ELEMENTS[np.dtype(dtype)], x.shape)],
        [helper.make_tensor_value_info("y", ELEMENTS[np.dtype(dtype)], [None] * x.ndim)],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    return model, x


def expected(model: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    """Returns what the dense layer gives, in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    (y,) = onnx.reference.ReferenceEvaluator(wide).run(None, {"x": x.astype(np.float64)})
    return np.asarray(y)
