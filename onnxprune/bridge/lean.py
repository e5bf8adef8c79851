"""A program that does no more than training needs: integers off the tensors, patterns as one step.

Its slots go on after those of the tensors: initializers held as integers, the device of the
inputs, and a last one that is always empty, which is what an absent input (-1) reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import onnx_graphsurgeon as gs

from onnxprune.bridge.fusions import Fused, find_fusions
from onnxprune.bridge.host import plan_host
from onnxprune.bridge.makers import maker, with_tensors
from onnxprune.bridge.program import (
    Program,
    Step,
    counterpart,
    never,
    owns_statistics,
    slot_numbers,
    twin_of,
    with_releases,
)
from onnxprune.bridge.roles import readers
from onnxprune.graph import Model
from onnxprune.ops.base import describe

__all__ = ["compile_lean"]

Training = Callable[[], bool]


def compile_lean(model: Model, training: Training, *, fuse: bool) -> Program:
    """Returns a program with sizes as Python integers.

    Args:
        model: As for `compile_program`.
        training: As for `compile_program`.
        fuse: Whether patterns of nodes become one step. Slots are the same with and without.

    Raises:
        ModelError: when a node's operator has no PyTorch counterpart in its version.
    """
    return _Lean(model, training, find_fusions(model) if fuse else ()).program()


class _Lean:
    """A lean program on its way."""

    def __init__(self, model: Model, training: Training, fused: Iterable[Fused]) -> None:
        self._model, self._training = model, training
        self._known, self._read_by = model.initializers(), readers(model)
        self._plan = plan_host(model, self._known)
        self._slots = slot_numbers(model)
        # initializers are tensors, too, so their integers lie in slots of their own
        twice = [name for name in self._plan.values if name in self._known]
        count = len(self._slots)
        self._plain = self._slots | {name: count + i for i, name in enumerate(twice)}
        self._device, self._size = count + len(twice), count + len(twice) + 2
        self._fused = {id(found.nodes[0]): found for found in fused}
        self._absorbed = {id(node) for found in self._fused.values() for node in found.nodes[1:]}

    def program(self) -> Program:
        """Returns it."""
        slots, plan = self._slots, self._plan
        outputs = tuple(slots[spec.name] for spec in self._model.outputs())
        computed = [name for name in plan.types if name not in self._known]
        steps = [step for node in self._model.nodes if (step := self._step(node)) is not None]
        hidden = {t.name for found in self._fused.values() for node in found.nodes[1:] for t in node.outputs if t.name}
        hidden |= {name for found in self._fused.values() for name in found.overwrites}
        return Program(
            slots,
            with_releases(steps, outputs, range(len(slots))),
            outputs,
            {slots[name]: plan.types[name] for name in computed},
            {self._plain[name]: value for name, value in plan.values.items()},
            self._device,
            self._size,
            frozenset(slots[name] for name in hidden),
        )

    def _step(self, node: gs.Node) -> Step | None:
        if id(node) in self._absorbed or all(t.name in self._plan.values for t in node.outputs):
            return None
        outputs = tuple(self._slots[t.name] if t.name else -1 for t in node.outputs)
        fused = self._fused.get(id(node))
        if fused is not None:
            return self._on_tensors(fused.function, fused.inputs, fused.plain, outputs, node)
        names = tuple(str(t.name) for t in node.inputs)
        host = self._plan.steps.get(id(node))
        if host is not None:
            table = [self._plain if plain else self._slots for plain in host.plain]
            inputs = tuple(place[name] if name else -1 for place, name in zip(table, names, strict=True))
            return Step(host.function, inputs, outputs, (), describe(node), plain=True)
        made = maker(node, [self._plan.types.get(name) for name in names])
        if made is not None:
            inputs = (*(self._plain[name] for name in names), self._device)
            return Step(made, inputs, outputs, (), describe(node))
        training = self._training if owns_statistics(node, self._read_by) else never
        function = counterpart(node, self._model, self._known, training)
        rule = twin_of(node, self._model)
        return self._on_tensors(function, names, () if rule is None else rule.plain_inputs, outputs, node)

    def _on_tensors(
        self,
        function: Callable[..., Any],
        names: Sequence[str],
        plain: Collection[int],
        outputs: tuple[int, ...],
        node: gs.Node,
    ) -> Step:
        """A step whose Python inputs become tensors, but for the slots `plain`."""
        types = self._plan.types
        kinds = {i: types[name] for i, name in enumerate(names) if name in types and i not in plain}
        made = {i: kind for i, kind in kinds.items() if names[i] not in self._known}
        table = [self._plain if name in types and i in plain else self._slots for i, name in enumerate(names)]
        inputs = tuple(place[name] if name else -1 for place, name in zip(table, names, strict=True))
        if made:
            return Step(with_tensors(function, made), (self._device, *inputs), outputs, (), describe(node))
        return Step(function, inputs, outputs, (), describe(node))
