"""Models cut to many widths and timed against the original, kept on disk for the next run.

Only times are wanted, so it does not matter which channels are cut: the first ones stay. Widths
are drawn for all groups at once, around a common one, so that a few dozen models tell about every
pair of groups; all but a few are aligned, as allocations are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import OutputError
from onnxprune.core.plan import Plan
from onnxprune.cost.latency_fit import LatencySample
from onnxprune.groups import prune
from onnxprune.report.write import write_text
from onnxprune.runtime import LatencyOptions, environment, make_session, measure, stand_in

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["SampleCache", "cache_folder", "draw_widths", "time_widths"]

_NARROWEST = 0.08
_SPREAD = 0.45
_FORMAT = 1


def draw_widths(sizes: Mapping[str, int], units: Mapping[str, int], count: int, seed: int = 0) -> list[dict[str, int]]:
    """Returns kept counts to time: the whole model first, then random ones, no two alike.

    Args:
        sizes: Group → number of channels.
        units: Group → multiple that counts should have.
        count: How many at most; small models have fewer.
        seed: Draws them; a longer list begins with the shorter one.
    """
    rng = np.random.default_rng(seed)
    found = [dict(sizes)]
    seen = {tuple(sizes.values())}
    for _ in range(4 * count):
        if len(found) >= count:
            break
        middle = rng.uniform(np.log(_NARROWEST), 0.0)
        ratios = np.exp(np.minimum(middle + _SPREAD * rng.standard_normal(len(sizes)), 0.0))
        counts = {
            name: _rounded(ratio * size, units[name], size)
            for (name, size), ratio in zip(sizes.items(), ratios.tolist(), strict=True)
        }
        if tuple(counts.values()) not in seen:
            seen.add(tuple(counts.values()))
            found.append(counts)
    return found


def _rounded(wanted: float, unit: int, size: int) -> int:
    return min(size, max(1, unit * max(1, round(wanted / unit))))


def time_widths(
    original: Model,
    working: Model,
    analysis: Analysis,
    feeds: Mapping[str, NDArray[Any]],
    widths: Sequence[Mapping[str, int]],
    options: LatencyOptions,
) -> Iterator[LatencySample]:
    """Yields the time of each width over the original's, measured turn by turn with it, both at their tenth percentile.

    Args:
        original: What they are held against.
        working: What is cut.
        analysis: Its analysis.
        feeds: Input name → array.
        widths: Kept counts.
        options: How to measure.

    Raises:
        ModelError: when a model cannot be loaded or run.
    """
    reference = make_session(stand_in(original).model, provider=options.provider, threads=options.threads)
    for counts in widths:
        plan = Plan("", analysis.sizes, {name: tuple(range(kept)) for name, kept in counts.items()})
        cut = stand_in(prune(working, analysis, plan)).model
        session = make_session(cut, provider=options.provider, threads=options.threads)
        compared = measure({"original": reference, "cut": session}, feeds, options)
        quick = {name: latency.p10_us for name, latency in compared.latencies.items()}
        yield LatencySample(dict(counts), quick["cut"] / quick["original"])


def cache_folder() -> Path:
    """Returns the user's folder for such files: $XDG_CACHE_HOME/onnxprune, or ~/.cache/onnxprune."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "onnxprune" / "latency"


class SampleCache:
    """Samples of one model on one machine.

    Args:
        folder: Where files lie.
        sha256: Hash of the original.
        options: How was measured: provider, threads, batch.
    """

    def __init__(self, folder: Path, sha256: str, options: LatencyOptions) -> None:
        found = environment()
        key = {
            "format": _FORMAT,
            "model": sha256,
            "provider": options.provider,
            "threads": options.threads,
            "batch": options.batch,
            "device": found["cuda_devices"] if "CUDA" in options.provider else [found["cpu"], found["usable_cores"]],
            "versions": [found["versions"][name] for name in ("onnxprune", "onnxruntime")],
        }
        self._key = key
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self._path = folder / f"{digest[:32]}.json"

    def read(self) -> list[LatencySample]:
        """Returns what is there; nothing where the file is absent or of no use."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["key"] != self._key:
                return []
            return [
                LatencySample({str(k): int(v) for k, v in item["counts"].items()}, float(item["ratio"]))
                for item in content["samples"]
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return []

    def write(self, samples: Sequence[LatencySample]) -> None:
        """Keeps samples; a folder that cannot be written is no error, the next run measures again."""
        content = {"key": self._key, "samples": [{"counts": dict(s.counts), "ratio": s.ratio} for s in samples]}
        with contextlib.suppress(OSError, OutputError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps(content) + "\n")
