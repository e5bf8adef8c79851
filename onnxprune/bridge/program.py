"""A graph as a list of steps over numbered slots: what `OnnxModule` runs.

Every tensor has a slot. A step reads slots, calls one operator's PyTorch counterpart, writes
slots, and empties those that nothing reads any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs
import torch
from numpy.typing import NDArray

from onnxprune.bridge.roles import Reader, frozen_statistics, readers
from onnxprune.core.errors import ModelError
from onnxprune.graph import Model
from onnxprune.ops.base import describe
from onnxprune.ops.registry import OPS, find_rule

__all__ = ["Program", "Step", "compile_program"]

TensorFunction = Callable[..., torch.Tensor | tuple[torch.Tensor | None, ...]]


@dataclass(frozen=True)
class Step:
    """One node.

    Attributes:
        function: From input tensors (None where absent) to the output or outputs.
        inputs: Slot of each input, -1 where absent.
        outputs: Slot of each output, -1 where absent.
        release: Slots that nothing reads after this step.
        node: How messages name the node.
    """

    function: TensorFunction
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    release: tuple[int, ...]
    node: str


@dataclass(frozen=True)
class Program:
    """A whole graph.

    Attributes:
        slots: Tensor name → slot.
        steps: The nodes, in an order that respects their inputs.
        outputs: Slot of each graph output.
    """

    slots: dict[str, int]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


class _NodeContext:
    """What one node's rule may ask."""

    def __init__(self, model: Model, known: Collection[str], opset: int, training: Callable[[], bool]) -> None:
        self.opset = opset
        self.training = training
        self._model = model
        self._known = known

    def constant(self, name: str) -> NDArray[Any] | None:
        return self._model.read(name) if name in self._known else None


def _never() -> bool:
    return False


def compile_program(model: Model, training: Callable[[], bool]) -> Program:
    """Returns the steps of `model`.

    Args:
        model: The model; its nodes must not be edited as long as the program is used.
        training: Tells at run time whether BatchNormalization takes statistics of the batch.

    Raises:
        ModelError: when a node's operator has no PyTorch counterpart in its version.
    """
    nodes = list(model.nodes)
    slots: dict[str, int] = {}
    known = model.initializers()
    for name in [*known, *(spec.name for spec in model.inputs())]:
        slots.setdefault(name, len(slots))
    for node in nodes:
        for tensor in node.outputs:
            if tensor.name:
                slots.setdefault(tensor.name, len(slots))
    outputs = tuple(slots[spec.name] for spec in model.outputs())
    release = _releases(nodes, slots, set(outputs))
    read_by = readers(model)
    steps = tuple(
        Step(
            _function(node, model, known, training if _owns_statistics(node, read_by) else _never),
            tuple(slots[t.name] if t.name else -1 for t in node.inputs),
            tuple(slots[t.name] if t.name else -1 for t in node.outputs),
            free,
            describe(node),
        )
        for node, free in zip(nodes, release, strict=True)
    )
    return Program(slots, steps, outputs)


def _releases(nodes: list[gs.Node], slots: dict[str, int], kept: set[int]) -> list[tuple[int, ...]]:
    seen = set(kept)
    found: list[tuple[int, ...]] = []
    for node in reversed(nodes):
        named = dict.fromkeys(slots[t.name] for t in [*node.inputs, *node.outputs] if t.name)
        free = tuple(slot for slot in named if slot not in seen)
        seen.update(free)
        found.append(free)
    return found[::-1]


def _owns_statistics(node: gs.Node, read_by: Mapping[str, Sequence[Reader]]) -> bool:
    return node.op != "BatchNormalization" or not frozen_statistics(node, read_by)


def _function(node: gs.Node, model: Model, known: Collection[str], training: Callable[[], bool]) -> TensorFunction:
    domain = node.domain or ""
    opset = model.opset_of(domain)
    rule = find_rule(domain, node.op, opset)
    if rule is None:
        raise ModelError(_unknown(node, domain, opset))
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
