"""How many runs a second several callers get out of one session.

Threads of the caller share a session, as in a server. Models take turns in windows of equal length, and
what counts is the median over windows, so that other load falls on all alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.runtime.session import Session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["Throughput", "throughput"]

_WINDOWS = 5


@dataclass(frozen=True)
class Throughput:
    """Runs a second of one model.

    Attributes:
        runs_per_s: Median over windows.
        low: Slowest window.
        high: Fastest window.
        callers: Threads that called at once.
    """

    runs_per_s: float
    low: float
    high: float
    callers: int


def throughput(
    sessions: Mapping[str, Session], feeds: Mapping[str, AnyArray], callers: int, window_s: float = 0.4
) -> dict[str, Throughput]:
    """Returns model → throughput of `callers` threads that run it without a pause.

    Args:
        sessions: Name → session.
        feeds: Input name → array, for every model.
        callers: Threads that call at once.
        window_s: Seconds of one window; a model gets five.

    Raises:
        ModelError: when a model cannot be run.
        DataError: when `feeds` does not fit a model.
    """
    for session in sessions.values():
        run(session, feeds)
    rates: dict[str, list[float]] = {name: [] for name in sessions}
    order = list(sessions)
    for window in range(_WINDOWS):
        for name in order if window % 2 == 0 else reversed(order):
            rates[name].append(_rate(sessions[name], feeds, callers, window_s))
    return {name: Throughput(float(np.median(found)), min(found), max(found), callers) for name, found in rates.items()}


def _rate(session: Session, feeds: Mapping[str, AnyArray], callers: int, window_s: float) -> float:
    """Returns runs per second, over the time until the last caller is done."""
    start, counts, failed = threading.Barrier(callers + 1), [0] * callers, list[Exception]()
    stop = threading.Event()

    def call(number: int) -> None:
        start.wait()
        try:
            while not stop.is_set():
                run(session, feeds)
                counts[number] += 1
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread of the caller
            failed.append(error)

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(callers)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    stop.wait(window_s)
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sum(counts) / (time.perf_counter() - began)
