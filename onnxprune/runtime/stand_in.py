"""A runnable stand-in for a model that holds operators onnxruntime does not know.

A model in bfloat16, for which there are few kernels, is computed in float32 (see `graph.widen`).
The unknown nodes are cut out: what they read becomes an output, what they gave an input. Two
models that hold the same unknown nodes agree everywhere if their stand-ins agree on all
outputs for all inputs, so certificates and shapes found on stand-ins hold for the models.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.core.errors import ModelError
from onnxprune.graph import Model, cut_at, widened
from onnxprune.runtime.support import find_unrunnable

__all__ = ["StandIn", "stand_in"]

_LISTED = 5


@dataclass(frozen=True)
class StandIn:
    """A model that runs.

    Attributes:
        model: The model itself, or a copy in float32, or one without the nodes that cannot run.
        notes: One sentence per node that was cut out, and one for what had to be dropped.
        is_widened: Whether float32 stands for bfloat16.
    """

    model: Model
    notes: tuple[str, ...] = ()
    is_widened: bool = False


def stand_in(model: Model) -> StandIn:
    """Returns `model`, or a stand-in where onnxruntime cannot run all of it on the CPU.

    Raises:
        ModelError: when onnxruntime can run none of it.
    """
    missing = find_unrunnable(model.skeleton().proto)
    wide = widened(model) if missing else None
    if wide is not None:
        model, missing = wide, find_unrunnable(wide.skeleton().proto)
    if not missing:
        return StandIn(model, is_widened=wide is not None)
    places = {node.index for node in missing}
    nodes = model.nodes
    cut = cut_at(model, [nodes[i] for i in sorted(places)])
    if not cut.model.nodes:
        raise ModelError(f"onnxruntime can run none of the model, so nothing can be checked: {missing[0].reason}.")
    notes = [f"{m.op_type} '{m.name}' was cut out to run the rest: {m.reason}." for m in missing]
    if cut.dropped_nodes:
        listed = ", ".join(cut.dropped_nodes[:_LISTED]) + (", …" if len(cut.dropped_nodes) > _LISTED else "")
        notes.append(
            f"{len(cut.dropped_nodes)} nodes behind were left out too, because the file does not state the type and "
            f"shape of what was cut out: {listed}."
        )
    return StandIn(cut.model, tuple(notes), wide is not None)
