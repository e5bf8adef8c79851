"""A run's weights, optimizer and numbers into a checkpoint, and back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from onnxprune.bridge import OnnxModule
from onnxprune.train.average import Average
from onnxprune.train.checkpoint import Checkpoint, Saved, decode
from onnxprune.train.fingerprint import check_fingerprint
from onnxprune.train.meter import LossMeter
from onnxprune.train.optimizers import optimizer_tensors, restore_optimizer
from onnxprune.train.precision import Precision
from onnxprune.train.state import RunState
from onnxprune.train.workers import Workers

__all__ = ["Parts", "Saver"]

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Parts:
    """What a run changes.

    Attributes:
        student: Its weights and running statistics.
        optimizer: Its moments.
        average: The running average of the weights, or None.
        precision: Its scale of the loss, in fp16.
        meter: The sums of losses.
    """

    student: OnnxModule
    optimizer: torch.optim.Optimizer
    average: Average | None
    precision: Precision
    meter: LossMeter


class Saver:
    """Saves a run now and then; the first process writes, the others meet it at their next exchange.

    Args:
        checkpoint: Where.
        parts: What.
        mark: What the checkpoint belongs to, see `fingerprint`.
        every_seconds: Time between states within an epoch.
        team: The processes.
    """

    def __init__(
        self, checkpoint: Checkpoint, parts: Parts, mark: Mapping[str, Any], every_seconds: float, team: Workers
    ) -> None:
        self._checkpoint, self._parts, self._mark = checkpoint, parts, mark
        self._every, self._team = every_seconds, team
        self._last = time.perf_counter()

    def due(self) -> bool:
        """Returns whether it is time to save."""
        return self._team.first and time.perf_counter() - self._last >= self._every

    def save(self, state: RunState, kept: Tensors, seconds: float) -> None:
        """Saves the run as it stands, all losses read.

        Args:
            state: Its numbers.
            kept: The weights of the best epoch.
            seconds: Time spent in the epoch under way.

        Raises:
            OutputError: when the system refuses.
        """
        if not self._team.first:
            return
        scaler = self._parts.precision.scaler
        facts = {
            "belongs to": self._mark,
            "run": {**state.to_facts(self._parts.meter), "seconds": seconds},
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        groups = self._groups() | {"kept": kept}
        tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        self._checkpoint.save(Saved(facts, tensors))
        self._last = time.perf_counter()

    def clear(self) -> None:
        """Removes what an earlier run left.

        Raises:
            OutputError: when the system refuses.
        """
        if self._team.first:
            self._checkpoint.clear()

    def restore(self) -> tuple[RunState, dict[str, torch.Tensor]] | None:
        """Puts the saved run back; returns its numbers and the kept weights, or None where nothing was saved.

        The first process reads for all.

        Raises:
            InputError: when the checkpoint is damaged or belongs to another run.
        """
        content: list[bytes] = []

        def read() -> bytes:
            content.extend(self._checkpoint.read() or ())
            return content[0] if content else b""

        facts = self._team.on_first(read)
        tensors = self._team.broadcast_bytes(content[1] if content else None)
        if not facts:
            return None
        where = str(self._checkpoint.folder)
        saved = decode(facts, tensors, where)
        check_fingerprint(saved.facts["belongs to"], self._mark, where)
        return self._put_back(saved)

    def _put_back(self, saved: Saved) -> tuple[RunState, dict[str, torch.Tensor]]:
        found: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in saved.tensors.items():
            group, _, name = key.partition("/")
            found.setdefault(group, {})[name] = tensor
        parts = self._parts
        parts.student.load_state_dict(found.get("model", {}))
        restore_optimizer(parts.optimizer, parts.student, found.get("optimizer", {}))
        if parts.average is not None:
            parts.average.restore(found.get("average", {}))
        if parts.precision.scaler is not None and saved.facts["scaler"]:
            parts.precision.scaler.load_state_dict(saved.facts["scaler"])
        own = parts.student.state_dict()
        kept = {name: tensor.to(own[name].device) for name, tensor in found.get("kept", {}).items()}
        return RunState.from_facts(saved.facts["run"], parts.meter), kept

    def _groups(self) -> dict[str, Tensors]:
        parts = self._parts
        return {
            "model": parts.student.state_dict(),
            "average": {} if parts.average is None else parts.average.values,
            "optimizer": optimizer_tensors(parts.optimizer, parts.student),
        }
