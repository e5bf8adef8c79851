"""Slice: a range of each axis. A range with step one cuts a Sum; a longer step picks the outer
index of a Prod, as when channels are shuffled by x[:, ::2].

Exporters fill one tensor with the first states of all recurrent layers and slice it. Its slices
have channels of their own, or layers that have nothing to do with one another would be coupled;
a slice that needs fewer then takes the first ones of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, factor, leaves, pin, split
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    describe,
    input_name,
    integers,
)
from onnxprune.ops.common import pin_input, set_all
from onnxprune.ops.plain_ints import ints
from onnxprune.ops.registry import register_op
from onnxprune.ops.uniform import cut_apart, uniform_value

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Slice"]

RANGES_ARE_INPUTS = 10


@dataclass(frozen=True)
class _Ranges:
    """What a Slice takes, as written in the node; None where computed at run time."""

    starts: list[int] | None
    ends: list[int] | None
    axes: list[int] | None
    steps: list[int] | None


def _ranges(node: gs.Node, constant: Callable[[str], NDArray[Any] | None]) -> _Ranges:
    starts = integers(node, "starts", 1, constant)
    ends = integers(node, "ends", 2, constant)
    count = len(starts or ends or ())
    axes = integers(node, "axes", 3, constant)
    steps = integers(node, "steps", 4, constant)
    known = starts is not None or ends is not None
    if axes is None and not input_name(node, 3) and known:
        axes = list(range(count))
    if steps is None and not input_name(node, 4) and known:
        steps = [1] * count
    return _Ranges(starts, ends, axes, steps)


def _clamp(value: int, size: int) -> int:
    return min(max(value + size if value < 0 else value, 0), size)


def _write(node: gs.Node, edit: Edit, ranges: _Ranges) -> None:
    """Writes ranges into the node, as attributes or inputs; defaults and what is there already stay as they are."""
    count = len(ranges.starts or ())
    defaults = {"axes": list(range(count)), "steps": [1] * count}
    for slot, (name, value) in enumerate(vars(ranges).items(), 1):
        if edit.opset < RANGES_ARE_INPUTS:
            if name != "steps" and (name in node.attrs or value != defaults.get(name)):
                node.attrs[name] = value
            continue
        old = edit.constant(input_name(node, slot)) if input_name(node, slot) else None
        written = defaults.get(name) if old is None or old.dtype != np.int64 else old.tolist()
        if written != value or (old is not None and old.dtype != np.int64):  # all four are of one type
            edit.set_input(node, slot, np.array(value, dtype=np.int64))


@register_op
class Slice(OpRule):
    """Slices `axes` from `starts` to `ends` by `steps`."""

    names = ("Slice",)
    plain_inputs = (1, 2, 3, 4)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot in range(1, 5):
            pin_input(node, slot, ctx, "reads it as a range")
        out = list(ctx.axes(node.inputs[0].name))
        shape = ctx.shape(node.outputs[0].name)
        ranges = _ranges(node, ctx.constant)
        known = None not in (ranges.starts, ranges.ends, ranges.axes, ranges.steps)
        touched = [a % len(out) for a in ranges.axes] if ranges.axes is not None else range(len(out))
        for i, at in enumerate(touched):
            if known and ranges.starts is not None and ranges.steps is not None:
                out[at] = self._cut(node, out[at], shape[at], ranges.starts[i], ranges.steps[i])
            elif ranges.axes is not None or out[at].size != shape[at]:
                pin(out[at], f"{describe(node)} computes its range at run time")
                out[at] = Atom(shape[at], f"{describe(node)} computes its range at run time")
        plain = known and all(step == 1 for step in ranges.steps or ())
        return [self._own(node, ctx, out) if plain and cut_apart(node.inputs[0], ctx) else out]

    @staticmethod
    def _cut(node: gs.Node, axis: Axis, size: int, start: int, step: int) -> Axis:
        if step == 1 and size == axis.size:
            return axis
        if step == 1 and size:
            first = _clamp(start, axis.size)
            part = split(axis, [first, size, axis.size - first - size])[1]
            return axis if part is None else part
        if step > 1 and axis.size % step == 0 and size == axis.size // step:
            pair = None if all(a.pinned for a in leaves(axis)) else factor(axis, step)
            if pair is not None:
                pin(pair[1], f"{describe(node)} takes every {step}th channel")
                return pair[0]
        pin(axis, f"{describe(node)} takes every {step}th position")
        return Atom(size, f"{describe(node)} takes every {step}th position")

    def _own(self, node: gs.Node, ctx: AxisContext, out: AxisList) -> AxisList:
        """Returns axes that no other slice of the same uniform tensor shares."""
        for axis in ctx.axes(node.inputs[0].name):
            pin(axis, f"{describe(node)} cuts what it needs from this axis")
        dynamic = ctx.dynamic(node.outputs[0].name)
        own: AxisList = [axis if moves else Atom(axis.size) for axis, moves in zip(out, dynamic, strict=True)]
        for position, axis in enumerate(own):
            ctx.note(node, f"own{position}", axis)
        return own

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        value = uniform_value(node.inputs[0], ctx)
        if value is None:
            super().masked(node, ctx)
        else:
            set_all(node, ctx, Mask.FINITE if value else Mask.ZERO)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        axes = edit.axes(node.inputs[0].name)
        ranges = _ranges(node, edit.constant)
        if None in (ranges.starts, ranges.ends, ranges.axes, ranges.steps):
            return  # every touched axis was pinned
        if edit.noted(node, "own0") is not None:
            self._take_first(node, edit, ranges)
            return
        starts, ends = list(ranges.starts or ()), list(ranges.ends or ())
        for i, (at, step) in enumerate(zip(ranges.axes or (), ranges.steps or (), strict=True)):
            keep = edit.keep(axes[at % len(axes)])
            if keep.all():
                continue
            first, last = _clamp(starts[i], len(keep)), _clamp(ends[i], len(keep))
            # a longer step starts within the first run of `step` channels, which all stay
            starts[i] = int(keep[:first].sum()) if step == 1 else first
            ends[i] = int(keep[:last].sum())
        if starts != ranges.starts or ends != ranges.ends:
            _write(node, edit, _Ranges(starts, ends, ranges.axes, ranges.steps))

    @staticmethod
    def _take_first(node: gs.Node, edit: Edit, ranges: _Ranges) -> None:
        """Makes a slice of a uniform tensor as large as its readers need it."""
        before = edit.shape(node.inputs[0].name)
        starts, ends = list(ranges.starts or ()), list(ranges.ends or ())
        places = [place % len(before) for place in ranges.axes or ()]
        for position, axis in enumerate(edit.axes(node.outputs[0].name)):
            keep = edit.keep(axis)
            if keep.all():
                continue
            if position not in places:
                starts, ends, places = [*starts, 0], [*ends, 0], [*places, position]
            at = places.index(position)
            starts[at] = _clamp(starts[at], before[position])
            ends[at] = starts[at] + int(keep.sum())
        if ends != ranges.ends:
            _write(node, edit, _Ranges(starts, ends, places, [1] * len(places)))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        static = _ranges(node, ctx.constant)

        def slice_tensor(x: torch.Tensor, *inputs: torch.Tensor | None) -> torch.Tensor:
            given = [None if t is None else ints(t) for t in inputs]
            given += [None] * (4 - len(given))
            starts, ends = static.starts or given[0] or [], static.ends or given[1] or []
            dims = static.axes or given[2] or list(range(len(starts)))
            steps = static.steps or given[3] or [1] * len(starts)
            for start, end, dim, step in zip(starts, ends, dims, steps, strict=True):
                x = _take(x, start, end, dim, step)
            return x

        return slice_tensor


def _take(x: torch.Tensor, start: int, end: int, dim: int, step: int) -> torch.Tensor:
    import torch

    size = x.shape[dim]
    if step > 0:
        first, last = _clamp(start, size), _clamp(end, size)
        if step == 1:
            return x.narrow(dim, first, max(0, last - first))
        return x.index_select(dim, torch.arange(first, max(first, last), step, device=x.device))
    first = min(max(start + size if start < 0 else start, 0), size - 1)
    last = max(end + size, -1) if end < 0 else min(end, size)
    return x.index_select(dim, torch.arange(first, last, step, device=x.device))
