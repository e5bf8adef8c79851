"""Multiply-accumulates of one node, from shapes.

    Conv            elements of the output × Π weight.shape[1:]
    ConvTranspose   elements of the input × Π weight.shape[1:]
    Gemm, MatMul    elements of the output × K, K the length of the contracted axis
    Einsum          Π of the sizes of all letters, where there are two operands or more

Element-wise work, pooling and normalisation are not counted. Quantised operators count as the
operator they quantise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import onnx_graphsurgeon as gs

from onnxprune.cost.base import Shapes

__all__ = ["node_macs", "uncounted_nodes"]

Shape = tuple[int, ...]
Formula = Callable[[gs.Node, list[Shape], Shape], int]


def node_macs(node: gs.Node, shapes: Shapes) -> float:
    """Returns the multiply-accumulates of a node over the whole batch.

    Zero for operators that are not counted, and for nodes with a tensor of unknown shape, which
    `uncounted_nodes` lists.

    Args:
        node: Any node.
        shapes: Tensor name → shape; initializers may be absent.
    """
    formula = _formula(node)
    known = _known_shapes(node, shapes)
    return float(formula(node, *known)) if formula is not None and known is not None else 0.0


def uncounted_nodes(nodes: Iterable[gs.Node], shapes: Shapes) -> tuple[str, ...]:
    """Returns "operator 'name'" of the nodes whose MACs cannot be told for want of a shape."""
    return tuple(
        f"{node.op} '{node.name}'"
        for node in nodes
        if _formula(node) is not None and _known_shapes(node, shapes) is None
    )


def _formula(node: gs.Node) -> Formula | None:
    return _FORMULAS.get(node.op) if node.domain in (None, "", "ai.onnx") else None


def _known_shapes(node: gs.Node, shapes: Shapes) -> tuple[list[Shape], Shape] | None:
    """Shapes of the inputs and of the first output, or None where one is unknown."""
    inputs = [_shape(tensor, shapes) for tensor in node.inputs if tensor.name]
    output = _shape(node.outputs[0], shapes)
    known = [shape for shape in inputs if shape is not None]
    return (known, output) if len(known) == len(inputs) and output is not None else None


def _shape(tensor: gs.Tensor, shapes: Shapes) -> Shape | None:
    if isinstance(tensor, gs.Constant):
        return tuple(int(n) for n in tensor.shape)
    return shapes.get(tensor.name)


def _conv(weight: int) -> Formula:
    def count(node: gs.Node, inputs: list[Shape], output: Shape) -> int:
        return math.prod(output) * math.prod(inputs[weight][1:])

    return count


def _conv_transpose(node: gs.Node, inputs: list[Shape], output: Shape) -> int:
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _gemm(node: gs.Node, inputs: list[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][0 if node.attrs.get("transA", 0) else 1]


def _matmul(node: gs.Node, inputs: list[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][-1]


def _einsum(node: gs.Node, inputs: list[Shape], output: Shape) -> int:
    if len(inputs) < 2:
        return 0
    sizes: dict[str, int] = {}
    equation = str(node.attrs["equation"]).replace(" ", "")
    for term, shape in zip(equation.split("->")[0].split(","), inputs, strict=True):
        head, dots, tail = term.partition("...")
        hidden = len(shape) - len(head) - len(tail) if dots else 0
        # axes under the ellipsis are named from the right, as broadcasting aligns them
        names = [*head, *(f"...{hidden - i}" for i in range(hidden)), *tail]
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))
    return math.prod(sizes.values())


_FORMULAS: Mapping[str, Formula] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
}
