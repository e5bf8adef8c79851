"""MACs and parameters counted from an ONNX file's shapes alone, with nothing of onnxprune.

Independent evidence for budgets: onnx's shape inference at concrete sizes, and the textbook
formulas for the operators that multiply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

__all__ = ["at_sizes", "macs", "macs_of", "params"]

Shape = Sequence[int]
_NOT_INFERRED = {"GroupNormalization"}
_INTEGER_WEIGHTS = {
    "DequantizeLinear": (0,),
    "ConvInteger": (1,),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
}


def at_sizes(model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> onnx.ModelProto:
    """Returns the model with inputs of concrete shapes, and the shapes that ONNX infers from them.

    Inference is strict but for models with an operator whose type ONNX itself does not infer.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in fixed.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs[value.name], strict=True):
            dim.dim_value = size
    for value in fixed.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.Clear()
    strict = not any(node.op_type in _NOT_INFERRED for node in fixed.graph.node)
    return onnx.shape_inference.infer_shapes(fixed, strict_mode=strict, data_prop=True)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Returns the shapes that are fully known."""
    found = {}
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = [dim.dim_value for dim in dims]
    return found


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _conv(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * math.prod(shapes[1][1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _matmul(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * shapes[0][-1]


def _fused_matmul(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * shapes[0][-2 if _attributes(node).get("transA") else -1]


def _gemm(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * shapes[0][0 if _attributes(node).get("transA") else 1]


def _einsum(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    """Each letter once; "..." counts what it hides, in the operand that hides most."""
    equation = _attributes(node)["equation"]
    assert isinstance(equation, bytes)
    sizes: dict[str, int] = {}
    hidden = 1
    for term, shape in zip(equation.decode().split("->")[0].split(","), shapes, strict=True):
        head, _, tail = term.strip().partition("...")
        middle = shape[len(head) : len(shape) - len(tail)]
        hidden = max(hidden, math.prod(middle))
        sizes |= dict(zip(head + tail, [*shape[: len(head)], *shape[len(shape) - len(tail) :]], strict=True))
    return hidden * math.prod(sizes.values())


def _recurrent(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    """Every step of every direction multiplies the input and the state by its weights."""
    steps = shapes[0][0] * shapes[0][1]
    return steps * (math.prod(shapes[1]) + math.prod(shapes[2]))


def _attention(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    """q·kᵀ and weights·v of every query head, over past positions too."""
    query, key, value = shapes[:3]
    options = _attributes(node)
    if len(query) == 3:
        heads, groups = (int(str(options[name])) for name in ("q_num_heads", "kv_num_heads"))
        width, depth, length = query[2] // heads, value[2] // groups, query[1]
    else:
        heads, length, width, depth = query[1], query[2], query[3], value[3]
    given = [name for name in node.input if name]
    past = shapes[given.index(node.input[4])][2] if len(node.input) > 4 and node.input[4] else 0
    positions = key[-2] + past
    return query[0] * heads * length * positions * (width + depth)


def _packed_attention(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    """A projection to queries, keys and values of one width, then attention of all positions to all."""
    (batch, length, width), (_, three) = shapes[:2]
    return batch * length * width * three + batch * length * length * (2 * three // 3)


def _multi_head(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    (batch, length, width), (_, positions, _), (_, _, depth) = shapes[:3]
    return batch * length * positions * (width + depth)


def _group_query(node: onnx.NodeProto, shapes: Sequence[Shape], out: Shape) -> int:
    (batch, length, width), (_, positions, _) = shapes[:2]
    return batch * length * positions * 2 * width


FORMULAS: Mapping[str, Callable[[onnx.NodeProto, Sequence[Shape], Shape], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Attention": _attention,
    "com.microsoft::FusedConv": _conv,
    "com.microsoft::FusedGemm": _gemm,
    "com.microsoft::FusedMatMul": _fused_matmul,
    "com.microsoft::Attention": _packed_attention,
    "com.microsoft::MultiHeadAttention": _multi_head,
    "com.microsoft::GroupQueryAttention": _group_query,
}


def macs_of(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> int:
    """Returns the multiply-accumulates of a run in which tensors have the given shapes."""
    shapes = dict(shapes) | {t.name: list(t.dims) for t in model.graph.initializer}
    count = 0
    for node in model.graph.node:
        formula = FORMULAS.get(f"{node.domain}::{node.op_type}" if node.domain else node.op_type)
        if formula is not None:
            output = next(name for name in node.output if name)
            count += formula(node, [shapes[name] for name in node.input if name], shapes[output])
    return count


def macs(model: onnx.ModelProto) -> int:
    """Returns the multiply-accumulates of one sample, every dynamic dimension at one."""
    inputs = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    return macs_of(model, _shapes(at_sizes(model, inputs)))


def params(model: onnx.ModelProto) -> int:
    """Returns the number of weights: floating-point ones, and integers that stand for real numbers."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    integers = {
        node.input[slot]
        for node in model.graph.node
        for slot in _INTEGER_WEIGHTS.get(node.op_type, ())
        if slot < len(node.input)
    }
    weights = [t for t in model.graph.initializer if t.data_type in floats or t.name in integers]
    return sum(math.prod(t.dims) for t in weights)
