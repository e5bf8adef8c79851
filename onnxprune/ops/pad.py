"""Pad. Padding channels with zeros is a concatenation with channels that hold nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, pin, total
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    input_name,
    integers,
    open_atoms,
)
from onnxprune.ops.common import fresh, pin_input
from onnxprune.ops.plain_ints import ints
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Pad"]

PADS_ARE_AN_INPUT = 11


@register_op
class Pad(OpRule):
    """Adds a border to each axis: constant, reflected, repeated or wrapped."""

    names = ("Pad",)
    plain_inputs = (1, 3)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot in (1, 2, 3):
            pin_input(node, slot, ctx, "reads it as padding")
        x, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        pads = integers(node, "pads", 1, ctx.constant)
        places = integers(node, "axes", 3, ctx.constant)
        if pads is None or (places is None and input_name(node, 3)):
            for axis in x:
                pin(axis, f"{describe(node)} computes its padding at run time")
            return [fresh(shape, f"{describe(node)} computes its padding at run time")]
        places = list(range(len(x))) if places is None else [p % len(x) for p in places]
        out = list(x)
        for i, at in enumerate(places):
            low, high = pads[i], pads[i + len(places)]
            if low == high == 0:
                continue
            if attribute(node, "mode", "constant") == "constant" and low >= 0 and high >= 0:
                out[at] = self._border(node, ctx, x, at, low, high)
            else:
                pin(x[at], f"{describe(node)} mirrors or crops this axis")
                out[at] = Atom(shape[at], f"{describe(node)} mirrors or crops this axis")
        return [out]

    @staticmethod
    def _border(node: gs.Node, ctx: AxisContext, x: AxisList, at: int, low: int, high: int) -> Atom:
        borders = {"low": Atom(low), "high": Atom(high)}
        for side, atom in borders.items():
            ctx.note(node, f"{side}{at}", atom)
        parts = [axis for axis in (borders["low"], x[at], borders["high"]) if axis.size]
        joined = Atom(sum(part.size for part in parts))
        joined.bound = total(parts)
        return joined

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        name, output = node.inputs[0].name, node.outputs[0].name
        border = {
            atom
            for at in range(len(ctx.axes(name)))
            for side in ("low", "high")
            if (axis := ctx.noted(node, f"{side}{at}")) is not None
            for atom in leaves(axis)
        }
        zero_fill = self._fill_is_zero(node, ctx)
        for atom in open_atoms(ctx, output):
            zero = zero_fill if atom in border else zero_fill and ctx.state(name, atom) is Mask.ZERO
            ctx.set(output, atom, Mask.ZERO if zero else Mask.FINITE)

    @staticmethod
    def _fill_is_zero(node: gs.Node, ctx: MaskContext) -> bool:
        if not input_name(node, 2):
            return float(attribute(node, "value", 0.0)) == 0
        value = ctx.constant(input_name(node, 2))
        return value is not None and not value.any()

    def repair(self, node: gs.Node, edit: Edit) -> None:
        pads = integers(node, "pads", 1, edit.constant)
        rank = len(edit.axes(node.inputs[0].name))
        places = integers(node, "axes", 3, edit.constant) or list(range(rank))
        if pads is None:
            return
        new = list(pads)
        for i, place in enumerate(places):
            for side, offset in (("low", 0), ("high", len(places))):
                axis = edit.noted(node, f"{side}{place % rank}")
                if axis is not None:
                    new[i + offset] = int(edit.keep(axis).sum())
        if new == pads:
            return
        if edit.opset < PADS_ARE_AN_INPUT:
            node.attrs["pads"] = new
        else:
            edit.set_input(node, 1, np.array(new, dtype=np.int64))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        mode = str(attribute(node, "mode", "constant"))
        static_pads = integers(node, "pads", 1, ctx.constant)
        static_axes = integers(node, "axes", 3, ctx.constant)
        static_value = ctx.constant(input_name(node, 2)) if input_name(node, 2) else None

        def pad(
            x: torch.Tensor,
            pads: torch.Tensor | None = None,
            value: torch.Tensor | None = None,
            axes: torch.Tensor | None = None,
        ) -> torch.Tensor:
            widths = static_pads if static_pads is not None or pads is None else ints(pads)
            places = static_axes if static_axes is not None or axes is None else ints(axes)
            fill = float(attribute(node, "value", 0.0))
            if static_value is not None or value is not None:
                fill = static_value.item() if static_value is not None else value.item()  # type: ignore[union-attr]
            return _pad(x, widths or [], places or list(range(x.dim())), mode, fill)

        return pad


def _pad(x: torch.Tensor, widths: list[int], places: list[int], mode: str, fill: float) -> torch.Tensor:
    import torch
    import torch.nn.functional as F

    sides = [(0, 0)] * x.dim()
    for i, place in enumerate(places):
        sides[place] = (widths[i], widths[i + len(places)])
    if mode == "constant":
        return F.pad(x, [w for pair in reversed(sides) for w in pair], value=fill)
    for dim, (low, high) in enumerate(sides):
        if low or high:
            positions = np.arange(x.shape[dim])[max(0, -low) : x.shape[dim] + min(0, high)]
            padded = np.pad(positions, (max(low, 0), max(high, 0)), mode=mode)  # type: ignore[call-overload]
            x = x.index_select(dim, torch.from_numpy(padded).to(x.device))
    return x
