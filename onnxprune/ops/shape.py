"""Shape, and how far a run-time size may travel.

A size that ends in a shape input (Reshape's target, Resize's sizes) follows the pruned tensor
by itself or is rewritten there. One that ends in arithmetic on data would silently change a
result, so the axes it was read from must stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, pin
from onnxprune.ops.base import AxisContext, AxisList, OpRule, TwinContext, attribute, describe, input_name, integers
from onnxprune.ops.common import fresh, pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["Range", "Shape", "Size", "range_bounds"]

_CARRIERS = {
    "Add", "And", "Cast", "Concat", "Div", "Equal", "Expand", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less",
    "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "ReduceProd", "Reshape", "ScatterElements",
    "ScatterND", "Slice", "Split", "Squeeze", "Sub", "Unsqueeze", "Where",
}  # fmt: skip
# Range is not among them: it makes as many numbers as it is told, and nothing rewrites that
_SHAPE_SLOTS = {
    ("AffineGrid", 1), ("ConstantOfShape", 0), ("Expand", 1), ("Reshape", 1), ("Resize", 3), ("Slice", 1), ("Slice", 2),
    ("Split", 1), ("Tile", 1),
}  # fmt: skip


def _reads_shape(node: gs.Node, tensor: gs.Tensor) -> bool:
    """Returns whether a node reads a tensor of sizes as a shape only."""
    return all((node.op, slot) in _SHAPE_SLOTS for slot, t in enumerate(node.inputs) if t is tensor)


def _readers(sizes: gs.Tensor) -> Iterator[tuple[gs.Node, gs.Tensor]]:
    """Gives each node that reads the sizes, through casts, with the tensor that it reads."""
    for node in sizes.outputs:
        if node.op in ("Cast", "Identity"):
            yield from _readers(node.outputs[0])
        else:
            yield node, sizes


def _escape(tensor: gs.Tensor) -> gs.Node | None:
    """Returns a node in which a run-time size becomes data, or None."""
    queue, seen = deque([tensor]), {id(tensor)}
    while queue:
        current = queue.popleft()
        for node in current.outputs:
            if _reads_shape(node, current):
                continue
            if node.op not in _CARRIERS:
                return node
            for output in node.outputs:
                if id(output) not in seen:
                    seen.add(id(output))
                    queue.append(output)
    return None


@register_op
class Shape(OpRule):
    """The sizes of a tensor, from `start` to `end`."""

    names = ("Shape",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        places = list(range(len(x)))[attribute(node, "start", 0) : attribute(node, "end", len(x))]
        for consumer, sizes in _readers(node.outputs[0]):
            if _reads_shape(consumer, sizes):
                continue
            used = self._used(consumer, places, ctx)
            outputs = consumer.outputs if consumer.op in _CARRIERS else [sizes]
            for output in outputs:
                target = _escape(output)
                for place in used if target is not None else ():
                    pin(x[place], f"{describe(node)} feeds its size to {describe(target)} as data")
        return [fresh(ctx.shape(node.outputs[0].name), f"{describe(node)} gives sizes")]

    @staticmethod
    def _used(consumer: gs.Node, places: list[int], ctx: AxisContext) -> list[int]:
        if consumer.op == "Gather":
            index = ctx.constant(consumer.inputs[1].name)
            if index is not None:
                return [places[int(i)] for i in np.asarray(index).reshape(-1)]
        if consumer.op == "Slice":
            starts = integers(consumer, "starts", 1, ctx.constant)
            ends = integers(consumer, "ends", 2, ctx.constant)
            steps = integers(consumer, "steps", 4, ctx.constant) if input_name(consumer, 4) else [1]
            if starts is not None and ends is not None and steps == [1]:
                return places[starts[0] : ends[0]]
        return places

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        start, end = attribute(node, "start", 0), attribute(node, "end")
        return lambda x: torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


@register_op
class Size(OpRule):
    """The number of elements: every axis counts, so every axis stays."""

    names = ("Size",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 0, ctx, "counts elements")
        return [[]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return lambda x: torch.tensor(x.numel(), dtype=torch.int64)


def range_bounds(start: float, limit: float, delta: float) -> tuple[float, float, float]:
    """Returns bounds that torch takes: a limit in front of the start is an error there, and no numbers in ONNX."""
    return start, (limit if (limit - start) * delta > 0 else start), delta


@register_op
class Range(OpRule):
    """Numbers from start to limit by delta."""

    names = ("Range",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot in range(len(node.inputs)):
            pin_input(node, slot, ctx, "reads it as a size")
        return [[Atom(size, f"{describe(node)} bakes its size in") for size in ctx.shape(node.outputs[0].name)]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return lambda start, limit, delta: torch.arange(
            *range_bounds(start.item(), limit.item(), delta.item()), dtype=start.dtype, device=start.device
        )
