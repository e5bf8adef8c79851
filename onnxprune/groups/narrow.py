"""Statistics over what is kept, inside a masked model.

A mean over n channels of which some are masked to zero is not the mean over those that are
kept. Where removal may be approximate, the masked model therefore runs each node that takes
statistics as the pruned model will: on the kept channels alone,

    x [.., n] -> Gather(kept) -> node, repaired -> Gather(back) -> Where(kept, ., 0) -> y [.., n]

so that masked channels of y hold zero, and everything else is compared as in exact pruning.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves
from onnxprune.axes.keep import BoolArray
from onnxprune.graph import Model
from onnxprune.graph.edit import set_input
from onnxprune.groups.infer import Inference
from onnxprune.groups.surgeon import Surgeon

__all__ = ["narrow_statistics"]


def narrow_statistics(model: Model, masked: Model, inference: Inference, masks: Mapping[Atom, BoolArray]) -> None:
    """Makes the nodes of a masked model that take statistics take them over kept channels.

    Args:
        model: The analysed model.
        masked: Its masked copy, edited in place.
        inference: Axes of every tensor.
        masks: Atom → keep mask, of all masked atoms.
    """
    soft = {atom: mask for atom, mask in masks.items() if atom.soft}
    if not soft:
        return
    edit = Surgeon(model, masked, inference, soft)
    for node in list(masked.nodes):
        rule = inference.rule(node)
        if rule is not None and rule.statistics and _touches(node, inference, soft):
            rule.repair(node, edit)  # goes by the names of inputs, which change next
            _narrow_inputs(node, edit)
            _widen_outputs(node, edit)


def _touches(node: gs.Node, inference: Inference, soft: Mapping[Atom, BoolArray]) -> bool:
    return any(atom in soft for t in node.inputs for axis in inference.axes(t.name) for atom in leaves(axis))


def _shortened(tensor: gs.Tensor, edit: Surgeon) -> list[tuple[int, BoolArray]]:
    keeps = [(position, edit.keep(axis)) for position, axis in enumerate(edit.axes(tensor.name))]
    return [(position, keep) for position, keep in keeps if not keep.all()]


def _narrow_inputs(node: gs.Node, edit: Surgeon) -> None:
    for slot, tensor in enumerate(list(node.inputs)):
        current = tensor
        for axis, keep in _shortened(tensor, edit):
            base = f"{tensor.name}__kept"
            kept = edit.new_constant(base, np.flatnonzero(keep))
            current = edit.add_node("Gather", [current, kept], base, tensor.dtype, {"axis": axis})
        if current is not tensor:
            set_input(node, slot, current)


def _widen_outputs(node: gs.Node, edit: Surgeon) -> None:
    for slot, tensor in enumerate(list(node.outputs)):
        current = tensor
        for axis, keep in _shortened(tensor, edit):
            base = f"{tensor.name}__back"
            if current is tensor:
                current = edit.detach_output(node, slot, f"{tensor.name}__narrow")
            shape = [1] * len(edit.axes(tensor.name))
            shape[axis] = len(keep)
            place = edit.new_constant(base, np.maximum(np.cumsum(keep) - 1, 0))
            mask = edit.new_constant(base, keep.reshape(shape))
            wide = edit.add_node("Gather", [current, place], base, tensor.dtype, {"axis": axis})
            zero = edit.add_node("Sub", [wide, wide], base, tensor.dtype)  # of a dtype that the file may not state
            current = edit.add_node("Where", [mask, wide, zero], base, tensor.dtype)
        if current is not tensor:
            edit.give_name(current, tensor)
