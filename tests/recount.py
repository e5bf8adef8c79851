"""MACs and parameters counted from an ONNX file's shapes alone, with nothing of onnxprune.

Independent evidence for budgets: onnx's shape inference at batch size 1, and the textbook
formulas for the operators that multiply.
"""

from __future__ import annotations

import math

import onnx


def _at_batch_one(model: onnx.ModelProto) -> onnx.ModelProto:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in [*fixed.graph.input, *fixed.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    return onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    found = {t.name: list(t.dims) for t in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        found[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return found


def macs(model: onnx.ModelProto) -> int:
    """Returns the multiply-accumulates of one sample."""
    model = _at_batch_one(model)
    shapes = _shapes(model)
    count = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        left, right, out = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
        if node.op_type == "Conv":
            count += math.prod(out) * math.prod(right[1:])
        elif node.op_type == "ConvTranspose":
            count += math.prod(left) * math.prod(right[1:])
        elif node.op_type == "MatMul":
            count += math.prod(out) * left[-1]
        else:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            count += math.prod(out) * left[0 if transposed else 1]
    return count


def params(model: onnx.ModelProto) -> int:
    """Returns the number of floating-point weights."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type in floats)
