"""A graph as a list of steps over numbered slots: what `OnnxModule` runs.

Every tensor has a slot. A step reads slots, calls one operator's PyTorch counterpart, writes
slots, and empties those that nothing reads any more.

A lean program does the same with less: sizes are Python integers (`onnxprune.bridge.host`), and
patterns of nodes are one step (`onnxprune.bridge.fusions`). `onnxprune.bridge.lean` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.host_rules import HostType
from onnxprune.bridge.roles import Reader, frozen_statistics, readers
from onnxprune.core.errors import ModelError
from onnxprune.graph import Model
from onnxprune.ops.base import OpRule, describe
from onnxprune.ops.registry import OPS, find_twin
from onnxprune.ops.twin import Twin

__all__ = [
    "Program",
    "Step",
    "compile_program",
    "counterpart",
    "never",
    "owns_statistics",
    "slot_numbers",
    "twin_of",
    "with_releases",
]

TensorFunction = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """One node, or several fused ones.

    Attributes:
        function: From input tensors (None where absent) to the output or outputs.
        inputs: Slot of each input, -1 where absent.
        outputs: Slot of each output, -1 where absent.
        release: Slots that nothing reads after this step.
        node: How messages name the node.
        plain: Whether the result is one Python value, a tuple included.
    """

    function: TensorFunction
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    release: tuple[int, ...]
    node: str
    plain: bool = False


@dataclass(frozen=True)
class Program:
    """A whole graph.

    Attributes:
        slots: Tensor name → slot.
        steps: The nodes, in an order that respects their inputs.
        outputs: Slot of each graph output.
        hosted: Slot → type, for tensors that a lean program holds as Python integers.
        values: Slot → value, for those of them that are constant.
        device: Slot of the device, or -1.
        size: Number of slots.
        hidden: Slots of tensors that fused steps leave out or overwrite.
    """

    slots: dict[str, int]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    hosted: Mapping[int, HostType] = field(default_factory=dict)
    values: Mapping[int, Any] = field(default_factory=dict)
    device: int = -1
    size: int = 0
    hidden: frozenset[int] = frozenset()


class _NodeContext:
    """What one node's rule may ask."""

    def __init__(self, model: Model, known: Collection[str], opset: int, training: Callable[[], bool]) -> None:
        self.opset = opset
        self.training = training
        self._model = model
        self._known = known

    def constant(self, name: str) -> NDArray[Any] | None:
        return self._model.read(name) if name in self._known else None


def never() -> bool:
    """Returns False: what tells a BatchNormalization to keep its statistics."""
    return False


def compile_program(model: Model, training: Callable[[], bool]) -> Program:
    """Returns the steps of `model`, one per node and all on tensors.

    Args:
        model: The model; its nodes must not be edited as long as the program is used.
        training: Tells at run time whether BatchNormalization takes statistics of the batch.

    Raises:
        ModelError: when a node's operator has no PyTorch counterpart in its version.
    """
    nodes, slots, known, read_by = list(model.nodes), slot_numbers(model), model.initializers(), readers(model)
    outputs = tuple(slots[spec.name] for spec in model.outputs())
    steps = [
        Step(
            counterpart(node, model, known, training if owns_statistics(node, read_by) else never),
            tuple(slots[t.name] if t.name else -1 for t in node.inputs),
            tuple(slots[t.name] if t.name else -1 for t in node.outputs),
            (),
            describe(node),
        )
        for node in nodes
    ]
    return Program(slots, with_releases(steps, outputs), outputs, size=len(slots))


def slot_numbers(model: Model) -> dict[str, int]:
    """Returns tensor name → slot: initializers, inputs, computed tensors."""
    slots: dict[str, int] = {}
    for name in [*model.initializers(), *(spec.name for spec in model.inputs())]:
        slots.setdefault(name, len(slots))
    for node in model.nodes:
        for tensor in node.outputs:
            if tensor.name:
                slots.setdefault(tensor.name, len(slots))
    return slots


def with_releases(
    steps: Sequence[Step], outputs: Collection[int], within: Collection[int] | None = None
) -> tuple[Step, ...]:
    """Returns the steps, each with the slots that nothing reads after it.

    Args:
        steps: Steps in order.
        outputs: Slots that stay.
        within: Slots that may be emptied; None for all.
    """
    seen = set(outputs)
    found: list[Step] = []
    for step in reversed(steps):
        named = dict.fromkeys(slot for slot in (*step.inputs, *step.outputs) if slot >= 0)
        free = tuple(slot for slot in named if slot not in seen and (within is None or slot in within))
        seen.update(free)
        found.append(Step(step.function, step.inputs, step.outputs, free, step.node, step.plain))
    return tuple(found[::-1])


def owns_statistics(node: gs.Node, read_by: Mapping[str, Sequence[Reader]]) -> bool:
    """Returns whether training may update what a node normalises by."""
    return node.op != "BatchNormalization" or not frozen_statistics(node, read_by)


def twin_of(node: gs.Node, model: Model) -> OpRule | Twin | None:
    """Returns what has the PyTorch counterpart of a node, or None."""
    domain = node.domain or ""
    return find_twin(domain, node.op, model.opset_of(domain))


def counterpart(node: gs.Node, model: Model, known: Collection[str], training: Callable[[], bool]) -> TensorFunction:
    """Returns a node's PyTorch counterpart.

    Raises:
        ModelError: when there is none.
    """
    rule, opset = twin_of(node, model), model.opset_of(node.domain or "")
    if rule is None:
        raise ModelError(_unknown(node, node.domain or "", opset))
    return rule.torch(node, _NodeContext(model, known, opset, training))


def _unknown(node: gs.Node, domain: str, opset: int) -> str:
    key = f"::{node.op}" if domain in ("", "ai.onnx") else f"{domain}::{node.op}"
    versions = [f"{rule.since} to {rule.until or 'the newest'}" for rule in OPS.find(key) or []]
    known = f" It is known for operator-set versions {', '.join(versions)}." if versions else ""
    return (
        f"Node {describe(node)} cannot be turned into PyTorch: onnxprune knows no operator {node.op!r} of domain "
        f"{domain or 'ai.onnx'!r} in operator set {opset}.{known} Prune without retraining (no --data), or rewrite "
        "the node with known operators."
    )
