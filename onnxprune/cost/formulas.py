"""Multiply-accumulates of one node, from shapes.

    Conv            elements of the output × Π weight.shape[1:]
    ConvTranspose   elements of the input × Π weight.shape[1:]
    Gemm, MatMul    elements of the output × K, K the length of the contracted axis
    Einsum          Π of the sizes of all letters, where there are two operands or more
    LSTM, GRU, RNN  positions × batch × (elements of W + elements of R)
    attention       see `attention_formulas`
    block-sparse    positions of the output × elements of the packed weight, what pads its last tile included

Element-wise work, pooling and normalisation are not counted. Quantised operators count as the
operator they quantise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import onnx_graphsurgeon as gs

from onnxprune.core.errors import InternalError
from onnxprune.cost.attention_formulas import (
    attention,
    contrib_attention,
    group_query_attention,
    multi_head_attention,
)
from onnxprune.cost.base import Shapes

__all__ = ["node_macs", "uncounted_nodes"]

Shape = tuple[int, ...]
Inputs = list[Shape | None]
Formula = Callable[[gs.Node, Inputs, Shape], int]


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
    if node.domain in _OWN_DOMAINS:
        return next((count for name, count in _BLOCK_SPARSE.items() if node.op.startswith(name)), None)
    return _FORMULAS.get(("" if node.domain in (None, "", "ai.onnx") else node.domain, node.op))


def _known_shapes(node: gs.Node, shapes: Shapes) -> tuple[Inputs, Shape] | None:
    """Shapes of the inputs (None for an absent one) and of the first output, or None where one is unknown."""
    inputs = [_shape(tensor, shapes) if tensor.name else None for tensor in node.inputs]
    output = next((shape for tensor in node.outputs if (shape := _shape(tensor, shapes)) is not None), None)
    unknown = any(shape is None and tensor.name for tensor, shape in zip(node.inputs, inputs, strict=True))
    return (inputs, output) if not unknown and output is not None else None


def _given(inputs: Inputs, slot: int) -> Shape:
    """Returns the shape of an input that the operator requires."""
    shape = inputs[slot]
    if shape is None:
        raise InternalError(f"a node counted for its MACs lacks its input {slot}")
    return shape


def _shape(tensor: gs.Tensor, shapes: Shapes) -> Shape | None:
    if isinstance(tensor, gs.Constant):
        return tuple(int(n) for n in tensor.shape)
    return shapes.get(tensor.name)


def _conv(weight: int) -> Formula:
    def count(node: gs.Node, inputs: Inputs, output: Shape) -> int:
        return math.prod(output) * math.prod(_given(inputs, weight)[1:])

    return count


def _conv_transpose(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    return math.prod(_given(inputs, 0)) * math.prod(_given(inputs, 1)[1:])


def _gemm(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    return math.prod(output) * _given(inputs, 0)[0 if node.attrs.get("transA", 0) else 1]


def _matmul(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    return math.prod(output) * _given(inputs, 0)[-1]


def _block_sparse_matmul(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    return math.prod(output[:-1]) * math.prod(_given(inputs, 1))


def _block_sparse_conv(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    return math.prod((output[0], *output[2:])) * math.prod(_given(inputs, 1))


def _einsum(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    if len(inputs) < 2:
        return 0
    sizes: dict[str, int] = {}
    equation = str(node.attrs["equation"]).replace(" ", "")
    for slot, term in enumerate(equation.split("->")[0].split(",")):
        shape = _given(inputs, slot)
        head, dots, tail = term.partition("...")
        hidden = len(shape) - len(head) - len(tail) if dots else 0
        # axes under the ellipsis are named from the right, as broadcasting aligns them
        names = [*head, *(f"...{hidden - i}" for i in range(hidden)), *tail]
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))
    return math.prod(sizes.values())


def _fused_matmul(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    a = _given(inputs, 0)
    contracted = len(a) - 2 if node.attrs.get("transA", 0) and len(a) > 1 else len(a) - 1
    if node.attrs.get("transBatchA", 0) and contracted == len(a) - 2:
        contracted = 0  # the axis that moved behind the batch axes
    return math.prod(output) * a[contracted]


def _recurrent(node: gs.Node, inputs: Inputs, output: Shape) -> int:
    steps = math.prod(_given(inputs, 0)[:2])
    return steps * (math.prod(_given(inputs, 1)) + math.prod(_given(inputs, 2)))


_CONTRIB = "com.microsoft"
_OWN_DOMAINS = ("onnxprune", "onnxprune.portable")
# the operator's name goes on with that of the activation that it ends with
_BLOCK_SPARSE: Mapping[str, Formula] = {
    "BlockSparseMatMul": _block_sparse_matmul,
    "BlockSparseConv": _block_sparse_conv,
}
_FORMULAS: Mapping[tuple[str, str], Formula] = {
    ("", "Attention"): attention,
    ("", "Conv"): _conv(1),
    ("", "ConvInteger"): _conv(1),
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Einsum"): _einsum,
    ("", "GRU"): _recurrent,
    ("", "Gemm"): _gemm,
    ("", "LSTM"): _recurrent,
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "QLinearConv"): _conv(3),
    ("", "QLinearMatMul"): _matmul,
    ("", "RNN"): _recurrent,
    (_CONTRIB, "Attention"): contrib_attention,
    (_CONTRIB, "FusedConv"): _conv(1),
    (_CONTRIB, "FusedGemm"): _gemm,
    (_CONTRIB, "FusedMatMul"): _fused_matmul,
    (_CONTRIB, "GroupQueryAttention"): group_query_attention,
    (_CONTRIB, "MultiHeadAttention"): multi_head_attention,
}
