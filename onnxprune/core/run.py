"""The pass manager.

It checks before anything runs that every pass finds what it needs, checks after each that it
gave what it promised and edited nothing else, and times it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from onnxprune.core.errors import InternalError
from onnxprune.core.events import PassFinished, PassStarted
from onnxprune.core.stage import Bench, Pass, PassRecord

__all__ = ["Fingerprinted", "run_passes"]

_log = logging.getLogger(__name__)


@runtime_checkable
class Fingerprinted(Protocol):
    """An artifact whose edits the manager watches."""

    def fingerprint(self) -> str:
        """Returns a hash of its structure."""

    def node_count(self) -> int:
        """Returns the number of its nodes."""


def run_passes(passes: Sequence[Pass], bench: Bench, records: list[PassRecord] | None = None) -> list[PassRecord]:
    """Runs passes in order on one bench.

    Args:
        passes: The passes.
        bench: Holds what is there at the start, and everything at the end.
        records: Filled as the passes finish; a new list where none is given.

    Returns:
        What each pass did.

    Raises:
        InternalError: when a pass lacks an artifact or breaks its promise.
    """
    _check_order(passes, set(bench.artifacts))
    records = [] if records is None else records
    marks = _fingerprints(bench)
    for step in passes:
        record, marks = _run_one(step, bench, marks, [r.name for r in records])
        records.append(record)
    return records


def _check_order(passes: Sequence[Pass], present: set[str]) -> None:
    for step in passes:
        missing = sorted(set(step.needs) - present)
        if missing:
            order = ", ".join(p.name for p in passes)
            raise InternalError(
                f"Pass {step.name} needs {', '.join(missing)}, which no earlier pass of [{order}] gives."
            )
        present |= {*step.gives, *step.edits}


def _run_one(step: Pass, bench: Bench, before: dict[str, str], done: list[str]) -> tuple[PassRecord, dict[str, str]]:
    """Runs one pass; returns its record and the fingerprints after it."""
    nodes_before = _node_count(bench)
    bench.on_event(PassStarted(step.name))
    start = time.monotonic()
    given = step.run(bench)
    seconds = time.monotonic() - start
    expected = {*step.gives, *step.edits}
    if not set(step.gives) <= set(given) <= expected:
        raise InternalError(
            f"Pass {step.name} promised {sorted(expected)} and gave {sorted(given)}. Passes run before: {done}."
        )
    bench.artifacts.update(given)
    after = _fingerprints(bench)
    broken = [name for name, mark in before.items() if name not in expected and after.get(name) != mark]
    if broken:
        raise InternalError(f"Pass {step.name} edited {broken}, which it did not declare. Passes run before: {done}.")
    bench.on_event(PassFinished(step.name, seconds))
    record = PassRecord(step.name, seconds, nodes_before, _node_count(bench), before != after)
    _log.info("%s: %.0f ms, %d -> %d nodes", step.name, seconds * 1e3, nodes_before, record.nodes_after)
    return record, after


def _node_count(bench: Bench) -> int:
    """Returns the nodes of the graph under work: the slim one once there is one."""
    for name in ("slim", "model"):
        graph = bench.artifacts.get(name)
        if isinstance(graph, Fingerprinted):
            return graph.node_count()
    return 0


def _fingerprints(bench: Bench) -> dict[str, str]:
    return {name: value.fingerprint() for name, value in bench.artifacts.items() if isinstance(value, Fingerprinted)}
