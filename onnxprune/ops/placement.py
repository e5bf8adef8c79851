"""Operators that put values at places: Col2Im, CenterCropPad, MaxUnpool, TensorScatter.

Col2Im adds up overlapping blocks, MaxUnpool undoes a MaxPool by its flat indices, TensorScatter writes
new entries of a sequence into a cache.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext, attribute, integers
from onnxprune.ops.registry import register_twin
from onnxprune.ops.spatial import window
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["CenterCropPad", "Col2Im", "MaxUnpool", "TensorScatter"]


@register_twin
class CenterCropPad(Twin):
    """Crops or pads axes to a size, half at each end; the odd one goes to the far end."""

    names = ("CenterCropPad",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        static = integers(node, "shape", 1, ctx.constant)
        axes = attribute(node, "axes")

        def center_crop_pad(x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
            sizes = static if static is not None else [int(s) for s in shape.tolist()]
            for place, size in zip(range(x.dim()) if axes is None else axes, sizes, strict=True):
                surplus = x.shape[place] - size
                if surplus > 0:
                    x = x.narrow(place, surplus // 2, size)
                elif surplus < 0:
                    low = -surplus // 2
                    x = F.pad(x.movedim(place, -1), (low, -surplus - low)).movedim(-1, place)
            return x

        return center_crop_pad


@register_twin
class Col2Im(Twin):
    """[batch, channels · block, positions] to a map of any rank."""

    names = ("Col2Im",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        static_sizes, static_block = (integers(node, "", slot, ctx.constant) for slot in (1, 2))

        def col2im(x: torch.Tensor, image: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
            sizes = static_sizes or [int(s) for s in image.tolist()]
            win = window(node, static_block or [int(s) for s in block.tolist()])
            before, after = win.padding(sizes)
            padded = [size + b + a for size, b, a in zip(sizes, before, after, strict=True)]
            reach = [(k - 1) * d + 1 for k, d in zip(win.kernel, win.dilations, strict=True)]
            counts = [(p - r) // s + 1 for p, r, s in zip(padded, reach, win.strides, strict=True)]
            parts = x.reshape(x.shape[0], -1, math.prod(win.kernel), *counts).unbind(2)
            y = x.new_zeros((x.shape[0], parts[0].shape[1], *padded))
            for place, part in zip(itertools.product(*map(range, win.kernel)), parts, strict=True):
                target = y  # a view on the entries that this element of the block falls on
                for axis, (k, d, s, n) in enumerate(zip(place, win.dilations, win.strides, counts, strict=True), 2):
                    target = target.narrow(axis, k * d, (n - 1) * s + 1)[
                        (slice(None),) * axis + (slice(None, None, s),)
                    ]
                target.add_(part)
            for axis, (b, size) in enumerate(zip(before, sizes, strict=True), 2):
                y = y.narrow(axis, b, size)
            return y

        return col2im


@register_twin
class MaxUnpool(Twin):
    """Each value at its flat index, zeros elsewhere."""

    names = ("MaxUnpool",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        win = window(node, attribute(node, "kernel_shape"))

        def max_unpool(x: torch.Tensor, index: torch.Tensor, shape: torch.Tensor | None = None) -> torch.Tensor:
            before, after = win.padding(x.shape[2:])
            sizes = [
                (n - 1) * s + k - b - a
                for n, s, k, b, a in zip(x.shape[2:], win.strides, win.kernel, before, after, strict=True)
            ]
            flat = x.new_zeros(x.shape[0] * x.shape[1] * math.prod(sizes))
            y = flat.index_put((index.reshape(-1).long(),), x.reshape(-1)).reshape(*x.shape[:2], *sizes)
            if shape is None:
                return y
            missing = [int(want) - have for want, have in zip(shape.tolist(), y.shape, strict=True)]
            return F.pad(y, [w for more in reversed(missing) for w in (0, more)])

        return max_unpool


@register_twin
class TensorScatter(Twin):
    """The cache, with the update written from each sample's index on."""

    names = ("TensorScatter",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        at, circular = int(attribute(node, "axis", -2)), str(attribute(node, "mode", "linear")) == "circular"

        def tensor_scatter(
            cache: torch.Tensor, update: torch.Tensor, start: torch.Tensor | None = None
        ) -> torch.Tensor:
            axis = at % cache.dim()
            steps = torch.arange(update.shape[axis], device=cache.device)
            first = steps.new_zeros(cache.shape[0]) if start is None else start.reshape(-1).long()
            places = first[:, None] + steps
            places = places % cache.shape[axis] if circular else places
            shape = [-1 if i == 0 else len(steps) if i == axis else 1 for i in range(cache.dim())]
            return cache.scatter(axis, places.reshape(shape).expand(update.shape), update)

        return tensor_scatter
