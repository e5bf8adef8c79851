"""What each node of a model takes, as onnxruntime's profiler sees it.

Models run turn by turn, like in `latency`. The profiler times kernels after onnxruntime's own rewriting, so that
a node is what is left of it: a convolution with its activation fused carries the convolution's name. Profiling
takes time itself; what is read off are shares.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from onnxprune.runtime.providers import short_name
from onnxprune.runtime.session import ModelSource, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["NodeSample", "profile_nodes"]

_ENDING = "_kernel_time"
_WARM_UP = 3


@dataclass(frozen=True)
class NodeSample:
    """One node: its name after onnxruntime's rewriting, its operator, its median time of a run in microseconds.

    `provider` is the short name of the execution provider that ran it.
    """

    name: str
    op: str
    p50_us: float
    provider: str = ""


def profile_nodes(
    models: Mapping[str, ModelSource],
    feeds: Mapping[str, AnyArray],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    runs: int = 30,
) -> dict[str, tuple[NodeSample, ...]]:
    """Returns model → its nodes in the order in which they run.

    Args:
        models: Name → model.
        feeds: Input name → array, for every model.
        provider: As `resolve_provider` takes it.
        threads: Threads within one operator; None lets onnxruntime's session choose.
        runs: Runs of each model that count; three more warm it up.

    Raises:
        ModelError: when a model cannot be loaded or run.
        DataError: when `feeds` does not fit a model.
        UsageError: when the provider does not work here.
    """
    with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch:
        sessions = {
            name: make_session(model, provider=provider, threads=threads, profile=Path(scratch) / f"profile{place}")
            for place, (name, model) in enumerate(models.items())
        }
        for _ in range(_WARM_UP + runs):
            for session in sessions.values():
                run(session, feeds)
        files = {name: Path(session.end_profiling()) for name, session in sessions.items()}
        events = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    return {name: _nodes(found, _WARM_UP + runs) for name, found in events.items()}


def _nodes(events: Sequence[Mapping[str, Any]], runs: int) -> tuple[NodeSample, ...]:
    """Returns the nodes of one profile; a node that runs several times in a run, as in a loop, is taken together."""
    times: dict[tuple[str, str, str], list[float]] = {}
    for event in sorted(events, key=lambda event: float(event.get("ts", 0.0))):
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_ENDING):
            details = event.get("args", {})
            op, provider = str(details.get("op_name", "")), short_name(str(details.get("provider", "")))
            times.setdefault((name.removesuffix(_ENDING), op, provider), []).append(float(event["dur"]))
    found = []
    for (name, op, provider), durations in times.items():
        each = len(durations) / runs
        found.append(NodeSample(name, op, median(durations[int(_WARM_UP * each) :]) * each, provider))
    return tuple(found)
