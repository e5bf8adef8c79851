"""Where the time of a run goes: the nodes of the graph that onnxruntime made of a model.

Nodes are those after fusion, so that a name may stand for several of the model's. Profiling slows every node
down a little; shares are what to read.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxprune.core.errors import InternalError
from onnxprune.runtime.session import ModelSource, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["NodeTime", "node_times"]

_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class NodeTime:
    """One node.

    Attributes:
        node: Its name after fusion.
        operator: What it computes.
        provider: Short name of the execution provider that ran it.
        us: Median microseconds of a run.
        share: Of the time of all nodes.
    """

    node: str
    operator: str
    provider: str
    us: float
    share: float


def node_times(
    model: ModelSource,
    feeds: Mapping[str, AnyArray],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    runs: int = 30,
) -> tuple[NodeTime, ...]:
    """Returns every node that ran, the slowest first.

    Args:
        model: As `make_session` takes it.
        feeds: Input name → array.
        provider: As `resolve_provider` takes it.
        threads: As `make_session` takes it.
        runs: Runs that count; a fifth of them go before.

    Raises:
        ModelError: when the model cannot be loaded or run.
        DataError: when `feeds` does not fit it.
    """
    with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as folder:
        session = make_session(model, provider=provider, threads=threads, profile=Path(folder) / "profile")
        early = max(1, runs // 5)
        for _ in range(early + runs):
            run(session, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, tuple[str, str]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            node, details = name.removesuffix(_KERNEL), event.get("args", {})
            times[node].append(float(event["dur"]))
            kinds[node] = (
                str(details.get("op_name", "")),
                str(details.get("provider", "")).removesuffix("ExecutionProvider").lower(),
            )
    if not times and any(event.get("cat") == "Node" for event in events):
        raise InternalError("onnxruntime's profile names its nodes in a way that is not known here")
    # a node in a loop runs several times in each run
    each = {
        node: float(np.median(np.array(found[len(found) % (early + runs) :]).reshape(early + runs, -1).sum(1)[early:]))
        if len(found) >= early + runs
        else float(np.sum(found)) / (early + runs)
        for node, found in times.items()
    }
    whole = sum(each.values())
    found = [NodeTime(node, *kinds[node], us, us / whole if whole else 0.0) for node, us in each.items()]
    return tuple(sorted(found, key=lambda node: -node.us))
