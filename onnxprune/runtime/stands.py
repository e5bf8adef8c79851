"""Stands of a measurement: sessions of all models made anew, warmed up, timed turn by turn, and given up.

How many there are follows from what one costs: a stand is timed for as long at least as it took to make, and all of
them together stay within the seconds that the measurement may take. Where making takes minutes there is only one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxprune.runtime.ratios import Samples
from onnxprune.runtime.timing import Call, TurnLimits, take_turns, warm_up

__all__ = ["FEWEST", "StandLimits", "Stands", "take_stands"]

FEWEST = 3
"""Stands where making them is slow; of two, Student's t would make an interval that says nothing."""

_SAMPLE_S = 200e-6
_LONGEST_S = 60.0
_LEAST_ROUNDS = 5
_LATER_WARMUP = 0.25

Open = Callable[[int], Mapping[str, Call]]
"""Number of a stand → model → a run in a session of its own."""


@dataclass(frozen=True)
class StandLimits:
    """When stands, and turns within them, end; see `LatencyOptions`, whose names these are."""

    stands: int
    repeats: int
    warmup_s: float
    min_time_s: float
    settle_time_s: float
    max_time_s: float
    seed: int


@dataclass(frozen=True)
class Stands:
    """What was measured.

    Attributes:
        samples: Seconds per run, of each stand.
        calls: Model → runs in a row in each sample.
        costly_s: Seconds that making one stand took, where that left only one; else 0.
    """

    samples: tuple[Samples, ...]
    calls: Mapping[str, int]
    costly_s: float = 0.0

    def pooled(self, name: str) -> NDArray[np.float64]:
        """Returns all samples of a model: float64 [rounds of all stands]."""
        return np.concatenate([stand[name] for stand in self.samples])


def take_stands(make: Open, limits: StandLimits, is_settled: Callable[[tuple[Samples, ...]], bool]) -> Stands:
    """Returns the samples of as many stands as time allows.

    Args:
        make: Makes the runs of a stand; those of the stand before are given up by then.
        limits: When to stop; with `stands` 1 there is one, whose samples are checked while they are taken.
        is_settled: Whether the samples of the stands so far say enough.
    """
    began = time.perf_counter()
    calls = make(0)
    made_s = time.perf_counter() - began
    typical = {name: warm_up(call, limits.warmup_s) for name, call in calls.items()}
    counts = {name: max(1, round(_SAMPLE_S / seconds)) for name, seconds in typical.items()}
    warm_s = time.perf_counter() - began - made_s
    made_s += _LATER_WARMUP * warm_s
    planned = _planned(limits, made_s)
    if planned == 1:
        turns = TurnLimits(limits.repeats, limits.min_time_s, limits.settle_time_s, limits.max_time_s)
        samples = take_turns(calls, counts, turns, lambda found: is_settled((found,)), limits.seed)
        return Stands((samples,), counts, made_s if limits.stands > 1 else 0.0)
    each_s = max(limits.min_time_s / planned, min(made_s, limits.settle_time_s / planned))
    turns = TurnLimits(
        rounds=math.ceil(limits.repeats / planned),
        least_s=each_s,
        settle_s=each_s,
        most_s=limits.max_time_s / planned,
        fewest=math.ceil(_LEAST_ROUNDS / planned),
    )
    stands: list[Samples] = []
    began = time.perf_counter()
    while True:
        seed = limits.seed + len(stands)
        stands.append(take_turns(calls, counts, turns, lambda _: True, seed))
        late = time.perf_counter() - began >= limits.settle_time_s
        if len(stands) >= planned and (late or is_settled(tuple(stands))):
            return Stands(tuple(stands), counts)
        calls = {}  # sessions of two stands at once would take twice the memory
        calls = make(len(stands))
        for call in calls.values():
            warm_up(call, _LATER_WARMUP * limits.warmup_s)


def _planned(limits: StandLimits, made_s: float) -> int:
    """Returns how many stands there are at least, given what the first took to make."""
    if limits.stands == 1 or (FEWEST - 1) * made_s > _LONGEST_S:
        return 1
    affordable = int(limits.settle_time_s / max(made_s, 1e-9))
    return min(limits.stands, max(FEWEST, affordable))
