"""A graph run step by step over several batches at once, with initializers changed on the way.

Work that goes layer by layer (collect what a layer sees, change its weight, go on) would take
one pass through the net per layer if each pass started at the inputs. A `Walk` holds what is
live of every batch and moves all of them forward together, so that the whole net is run once.
Memory is that of the live tensors of all batches; `peak_bytes` tells it beforehand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from onnxprune.bridge.program import Step, compile_program
from onnxprune.bridge.tensors import as_tensor
from onnxprune.core.errors import InternalError
from onnxprune.graph import Model, constants_to_initializers

__all__ = ["Walk", "peak_bytes"]


class Walk:
    """A model on its way through some batches, as at inference.

    Args:
        model: The model; it is copied.
        batches: Input name → array, one mapping per batch.
        keep: Tensors that stay readable until they are dropped, whatever reads them.

    Raises:
        ModelError: when a node has no PyTorch counterpart, or a tensor no torch type.

    Attributes:
        nodes: The first tensor that each node computes, in the order of the walk.
    """

    def __init__(self, model: Model, batches: Iterable[Mapping[str, NDArray[Any]]], keep: Collection[str] = ()) -> None:
        source = model.copy()
        constants_to_initializers(source)
        self._program = compile_program(source, _never)
        slots = self._program.slots
        self._made_at = {slot: i for i, step in enumerate(self._program.steps) for slot in step.outputs if slot >= 0}
        self._kept = {slots[name] for name in keep}
        self._over: set[int] = set()
        self._position = 0
        constants = {slots[name]: as_tensor(source.read(name), name) for name in source.initializers()}
        self._constants = set(constants)
        self._envs: list[list[Any]] = []
        for batch in batches:
            env: list[Any] = [None] * len(slots)
            for slot, tensor in constants.items():
                env[slot] = tensor
            for name, array in batch.items():
                env[slots[name]] = as_tensor(array, name)
            self._envs.append(env)
        self.nodes = tuple(next(t.name for t in node.outputs if t.name) for node in source.nodes)

    def before(self, name: str) -> None:
        """Moves to just before the node that computes `name`; stays where that is behind already."""
        self._run_to(self._made_at.get(self._slot(name), 0))

    def through(self, name: str) -> None:
        """Moves past the node that computes `name`."""
        self._run_to(self._made_at.get(self._slot(name), -1) + 1)

    def finish(self) -> None:
        """Moves to the end."""
        self._run_to(len(self._program.steps))

    def tensors(self, name: str) -> list[torch.Tensor]:
        """Returns a tensor of the graph, one per batch.

        Raises:
            InternalError: when it is not computed yet, or nothing needs it any more.
        """
        slot = self._slot(name)
        found = [env[slot] for env in self._envs]
        if any(tensor is None for tensor in found):
            raise InternalError(f"tensor {name!r} is not live at step {self._position} of the walk")
        return found

    def outputs(self) -> list[list[torch.Tensor]]:
        """Returns the graph's outputs of each batch, after `finish`."""
        return [[env[slot] for slot in self._program.outputs] for env in self._envs]

    def assign(self, name: str, value: NDArray[Any]) -> None:
        """Gives an initializer another value; steps that were run are not run again."""
        tensor, slot = as_tensor(value, name), self._slot(name)
        for env in self._envs:
            env[slot] = tensor

    def drop(self, name: str) -> None:
        """Ends the keeping of a tensor."""
        slot = self._slot(name)
        self._kept.discard(slot)
        if slot in self._over:
            for env in self._envs:
                env[slot] = None

    def live_bytes(self) -> int:
        """Returns the bytes of all computed tensors that are held now, shared storage once."""
        held = [t for env in self._envs for slot, t in enumerate(env) if t is not None and slot not in self._constants]
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())

    def _slot(self, name: str) -> int:
        if name not in self._program.slots:
            raise InternalError(f"the graph of the walk has no tensor {name!r}")
        return self._program.slots[name]

    def _run_to(self, stop: int) -> None:
        while self._position < stop:
            step = self._program.steps[self._position]
            for env in self._envs:
                self._run(step, env)
            self._over.update(step.release)
            self._position += 1

    def _run(self, step: Step, env: list[Any]) -> None:
        with torch.no_grad():
            try:
                result = step.function(*[env[slot] if slot >= 0 else None for slot in step.inputs])
            except RuntimeError as error:
                error.add_note(f"in node {step.node}")
                raise
        for slot, tensor in zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=False):
            if slot >= 0:
                env[slot] = tensor
        for slot in step.release:
            if slot not in self._kept:
                env[slot] = None


def peak_bytes(model: Model, batch: Mapping[str, NDArray[Any]]) -> int:
    """Returns the largest number of bytes that are live at once when a batch walks through a model.

    Args:
        model: The model.
        batch: Input name → array.
    """
    walk = Walk(model, [batch])
    most = walk.live_bytes()
    for node in walk.nodes:
        walk.through(node)
        most = max(most, walk.live_bytes())
    return most


def _never() -> bool:
    return False
