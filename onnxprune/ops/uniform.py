"""Tensors that hold one number everywhere, so that any part of them is like any other."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxprune.ops.base import AnyArray, AxisContext, MaskContext, attribute

__all__ = ["cut_apart", "uniform_value"]


def uniform_value(tensor: gs.Tensor, ctx: AxisContext | MaskContext) -> float | None:
    """Returns the number that a computed tensor holds everywhere, or None where that is not known."""
    producer = tensor.inputs[0] if tensor.inputs else None
    if producer is None:
        return None
    value: AnyArray | None = None
    if producer.op == "ConstantOfShape":
        fill = attribute(producer, "value")
        return 0.0 if fill is None else float(fill.values.reshape(-1)[0])
    if producer.op == "Expand":
        value = ctx.constant(producer.inputs[0].name)
    return None if value is None or value.size != 1 else float(value.reshape(-1)[0])


def cut_apart(tensor: gs.Tensor, ctx: AxisContext | MaskContext) -> bool:
    """Returns whether a uniform tensor is only read in slices, such as the first states of stacked layers."""
    return uniform_value(tensor, ctx) is not None and all(reader.op == "Slice" for reader in tensor.outputs)
