"""A node between weights that come and go with its channels, so that all of its own rule shows.

    x [1] ── Mul(x, W) [+ c] ──> node ── Mul(·, K) ── ReduceSum ──> one number per output

Every float input of the node is a weight or is computed from one, and every output is multiplied by a
weight of its own shape and summed up. So nothing but the node's rule keeps a channel: an atom that it
leaves free is a group, and masked and pruned models must give the same sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
from node_cases import NodeCase
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pruning import Analysed

from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes, analyse
from onnxprune.runtime import capture

__all__ = ["FEEDS", "Inputs", "analysed_between_weights", "between_weights"]

Inputs = Literal["first zero", "first finite", "all zero", "all finite"]
"""Which float inputs are computed rather than weights, and what they hold where channels are masked."""

FEEDS = {"one": np.ones(1, dtype=np.float32)}
SHIFT = 0.25


def between_weights(case: NodeCase, outputs: Mapping[str, NDArray[Any]], inputs: Inputs) -> onnx.ModelProto:
    """Returns the model around the node of a case.

    Args:
        case: The case.
        outputs: What it gives, for shapes and types.
        inputs: How its float inputs come about.
    """
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    nodes = list(graph.node)
    for part in (graph.node, graph.input, graph.output, graph.value_info):
        del part[:]
    graph.input.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, [1]))
    computed = [name for name, array in case.inputs.items() if array.dtype == np.float32 and array.ndim and array.size]
    computed = computed if inputs.startswith("all") else computed[:1]
    for name, array in case.inputs.items():
        if name in computed:
            _compute(graph, name, array, finite=inputs.endswith("finite"))
        else:
            graph.initializer.append(numpy_helper.from_array(array, name))
    nodes[0].name = "node"
    graph.node.extend(nodes)
    rng = np.random.default_rng(0)
    for name, array in outputs.items():
        if array.size:
            _sum_up(graph, name, array, rng)
    return model


def _compute(graph: onnx.GraphProto, name: str, array: NDArray[Any], *, finite: bool) -> None:
    shift = np.float32(SHIFT if finite else 0.0)
    graph.initializer.append(numpy_helper.from_array(array - shift, f"{name}_weight"))
    product = f"{name}_product" if finite else name
    graph.node.append(helper.make_node("Mul", ["one", f"{name}_weight"], [product], name=f"{name}_mul"))
    if finite:
        graph.initializer.append(numpy_helper.from_array(np.full(1, shift), f"{name}_shift"))
        graph.node.append(helper.make_node("Add", [product, f"{name}_shift"], [name], name=f"{name}_add"))


def _sum_up(graph: onnx.GraphProto, name: str, array: NDArray[Any], rng: np.random.Generator) -> None:
    current = name
    if array.dtype != np.float32:
        current = f"{name}_float"
        graph.node.append(helper.make_node("Cast", [name], [current], name=f"{name}_cast", to=TensorProto.FLOAT))
    factors = rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(factors, f"{name}_factors"))
    scaled, total = f"{name}_scaled", f"{name}_sum"
    graph.node.append(helper.make_node("Mul", [current, f"{name}_factors"], [scaled], name=f"{name}_scale"))
    graph.node.append(helper.make_node("ReduceSum", [scaled], [total], name=total, keepdims=0))
    graph.output.append(helper.make_tensor_value_info(total, TensorProto.FLOAT, []))


def analysed_between_weights(model: onnx.ModelProto, *, approximate: bool) -> Analysed:
    """Returns a model of `between_weights` with its analysis; nothing is folded."""
    loaded = load_model(model)
    shapes = ConcreteShapes(capture(loaded.to_proto(), FEEDS).shapes, None, 1)
    return Analysed(loaded, analyse(loaded, shapes, approximate=approximate))
