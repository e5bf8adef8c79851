"""Operators that hand their input on: Identity, Cast, Dropout at inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.core.errors import ModelError
from onnxprune.ops.base import AxisContext, AxisList, OpRule, TwinContext
from onnxprune.ops.common import pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Cast", "CastLike", "Dropout", "Identity", "tensor_of", "torch_dtype"]


def torch_dtype(onnx_type: int | np.dtype[np.generic] | type) -> torch.dtype:
    """Returns the torch dtype of an ONNX element type, or of the numpy type GraphSurgeon made of it.

    Raises:
        ModelError: when torch computes with no such type.
    """
    import torch

    number = onnx_type if isinstance(onnx_type, int) else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(onnx_type))
    types: dict[int, torch.dtype] = {
        onnx.TensorProto.FLOAT: torch.float32,
        onnx.TensorProto.UINT8: torch.uint8,
        onnx.TensorProto.INT8: torch.int8,
        onnx.TensorProto.INT16: torch.int16,
        onnx.TensorProto.INT32: torch.int32,
        onnx.TensorProto.INT64: torch.int64,
        onnx.TensorProto.BOOL: torch.bool,
        onnx.TensorProto.FLOAT16: torch.float16,
        onnx.TensorProto.DOUBLE: torch.float64,
        onnx.TensorProto.BFLOAT16: torch.bfloat16,
    }
    if number not in types:
        raise ModelError(
            f"Element type {onnx.TensorProto.DataType.Name(number)} has no counterpart in PyTorch that can be computed "
            "with, so the model cannot be retrained. Compress without --data, or convert the model to float32 first."
        )
    return types[number]


def tensor_of(array: NDArray[Any]) -> torch.Tensor:
    """Returns a copy of an array as a tensor of its shape and element type, bfloat16 included."""
    import torch

    copy = np.array(array)
    if copy.dtype.name == "bfloat16":  # a type of ml_dtypes, which torch does not take
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


class _PassThrough(OpRule):
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        return [list(ctx.axes(node.inputs[0].name)) for _ in node.outputs]


@register_op
class Identity(_PassThrough):
    """y = x."""

    names = ("Identity",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        return lambda x: x


@register_op
class Cast(_PassThrough):
    """y = x in another element type."""

    names = ("Cast",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        dtype = torch_dtype(node.attrs["to"])
        return lambda x: x.to(dtype)


@register_op
class CastLike(_PassThrough):
    """y = x in the element type of the second input."""

    names = ("CastLike",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads its type only")
        return [list(ctx.axes(node.inputs[0].name))]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        return lambda x, like: x.to(like.dtype)


@register_op
class Dropout(_PassThrough):
    """The identity at inference, which is what a deployed model does; the mask is all true."""

    names = ("Dropout",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        with_mask = len(node.outputs) > 1
        mask_dtype = torch.bool if ctx.opset >= 10 else None

        def dropout(x: torch.Tensor, *_: torch.Tensor | None) -> torch.Tensor | tuple[torch.Tensor, ...]:
            return (x, torch.ones_like(x, dtype=mask_dtype)) if with_mask else x

        return dropout
