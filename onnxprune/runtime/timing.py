"""The clock: warm-up until times are stable, and samples of several callables turn by turn.

Round i gives one sample of each, in an order drawn anew, so that drift of the clock rate, of the
temperature and of other load falls on all alike. An untimed call goes before each sample: what comes right
after another model finds cold caches and sleeping threads, and one that happens to follow itself does not.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Call", "TurnLimits", "seconds_per_run", "take_turns", "warm_up"]

Call = Callable[[], object]
_STABLE = 0.05
_WINDOW = 8
_CHECK_EVERY = 10


@dataclass(frozen=True)
class TurnLimits:
    """When taking turns ends.

    Attributes:
        rounds: Rounds, at least.
        least_s: Seconds, at least.
        settle_s: Seconds after which it ends though the samples are not settled.
        most_s: Seconds after which `rounds` is given up.
        fewest: Rounds that are always taken.
    """

    rounds: int
    least_s: float
    settle_s: float
    most_s: float
    fewest: int = 5


def warm_up(call: Call, least_s: float) -> float:
    """Returns the seconds of one call, once they no longer fall or rise.

    Args:
        call: One run.
        least_s: Seconds to go on for at least; three times as many at most.
    """
    start = time.perf_counter()
    previous = float("inf")
    while True:
        window: list[float] = []
        while len(window) < _WINDOW and (not window or time.perf_counter() - start < 3 * least_s):
            window.append(seconds_per_run(call, 1))
        current, spent = float(np.median(window)), time.perf_counter() - start
        if spent >= least_s and (abs(current - previous) <= _STABLE * current or spent >= 3 * least_s):
            return current
        previous = current


def seconds_per_run(call: Call, count: int) -> float:
    """Returns the mean seconds of one call over `count` calls in a row."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def take_turns(
    calls: Mapping[str, Call],
    counts: Mapping[str, int],
    limits: TurnLimits,
    is_settled: Callable[[Mapping[str, NDArray[np.float64]]], bool],
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Returns seconds per run: float64 [rounds] for each model, timed turn by turn.

    Args:
        calls: Model → one run.
        counts: Model → runs in one sample.
        limits: When to stop.
        is_settled: Whether the samples so far say enough.
        seed: Draws the orders.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    names, rng = list(calls), np.random.default_rng(seed)
    collecting = gc.isenabled()
    gc.disable()
    start = time.perf_counter()
    done = 0
    try:
        while True:
            for name in rng.permutation(names).tolist():
                calls[name]()
                samples[name].append(seconds_per_run(calls[name], counts[name]))
            done += 1
            spent = time.perf_counter() - start
            if done >= limits.fewest and spent >= limits.most_s:
                break
            if done < limits.rounds or spent < limits.least_s:
                continue
            if spent >= limits.settle_s or (done % _CHECK_EVERY == 0 and is_settled(_arrays(samples))):
                break
    finally:
        if collecting:
            gc.enable()
    return _arrays(samples)


def _arrays(samples: Mapping[str, list[float]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array(values) for name, values in samples.items()}
