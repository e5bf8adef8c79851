"""Energy of a run on an NVIDIA device, from the counter that NVML keeps of the whole board.

The counter moves a few times a second only. A window therefore begins and ends at a moment when it moves, and runs are
counted in between; models take turns in windows. What is counted is all that the board takes, at rest too, and whatever
else computes on it.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from onnxprune.core.errors import UsageError
from onnxprune.runtime.timing import Call

__all__ = ["Energy", "Meter", "energy_per_run", "nvml_meter"]

_WINDOWS = 5
_STILL_S = 2.0
_FEW_RUNS = 8


@dataclass(frozen=True)
class Energy:
    """Energy of one run of one model.

    Attributes:
        joules: Joules per run, the median over windows.
        low: The least of a window.
        high: The most.
        watts: Joules per second, the median over windows.
        windows: How many windows there were.
    """

    joules: float
    low: float
    high: float
    watts: float
    windows: int


class Meter(Protocol):
    """What counts joules."""

    def joules(self) -> float:
        """Returns the joules taken since a moment that stays the same."""


class _NvmlMeter:
    def __init__(self, nvml: ModuleType, device: Any) -> None:
        self._nvml, self._device = nvml, device

    def joules(self) -> float:
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device)) / 1e3


@contextmanager
def nvml_meter() -> Iterator[Meter]:
    """Gives the meter of the device that CUDA calls its first.

    Raises:
        UsageError: when there is no NVML, no such device, or none that counts; it says which.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        raise UsageError('NVML for Python is not installed; pip install "onnxprune[energy]" brings it') from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise UsageError(f"NVML does not start here: {error}") from error
    try:
        try:
            meter = _NvmlMeter(nvml, _device(nvml))
            meter.joules()
        except nvml.NVMLError as error:
            raise UsageError(f"this device does not count its energy: {error}") from error
        yield meter
    finally:
        nvml.nvmlShutdown()


def _device(nvml: ModuleType) -> Any:
    """Returns NVML's handle of the device that CUDA calls its first."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = (visible.split(",")[0] if visible is not None else "0").strip()
    if first.startswith("GPU-"):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    if not first.isdecimal():
        raise UsageError(f"CUDA_VISIBLE_DEVICES begins with {first!r}, and NVML counts whole devices only")
    handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    by_bus = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not by_bus and len({str(nvml.nvmlDeviceGetName(handle)) for handle in handles}) > 1:
        raise UsageError(
            "devices differ, and CUDA numbers the fastest first where NVML goes by their place; "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    if int(first) >= len(handles):
        raise UsageError(f"CUDA_VISIBLE_DEVICES asks for device {first}, and there are {len(handles)}")
    return handles[int(first)]


def energy_per_run(calls: Mapping[str, Call], meter: Meter, window_s: float = 1.0) -> dict[str, Energy]:
    """Returns model → energy of a run.

    Args:
        calls: Name → one run; outputs are there when it returns.
        meter: Counts joules.
        window_s: Seconds of one window, at least; a model gets five.

    Raises:
        UsageError: when the counter does not move.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    order = list(calls)
    for window in range(_WINDOWS):
        for name in order if window % 2 == 0 else reversed(order):
            found[name].append(_window(calls[name], meter, window_s))
    summary = {}
    for name, windows in found.items():
        joules, watts = (np.array(column) for column in zip(*windows, strict=True))
        summary[name] = Energy(
            float(np.median(joules)), float(joules.min()), float(joules.max()), float(np.median(watts)), len(windows)
        )
    return summary


def _window(call: Call, meter: Meter, window_s: float) -> tuple[float, float]:
    """Returns joules per run and joules per second over one window."""
    for _ in range(_FEW_RUNS):
        call()
    first, _ = _until_it_moves(call, meter)
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < window_s:
        call()
        runs += 1
    last, more = _until_it_moves(call, meter)
    return (last - first) / (runs + more), (last - first) / (time.perf_counter() - began)


def _until_it_moves(call: Call, meter: Meter) -> tuple[float, int]:
    """Returns the counter just after it moved, and the runs until then."""
    began, before, runs = time.perf_counter(), meter.joules(), 0
    while time.perf_counter() - began < _STILL_S:
        call()
        runs += 1
        now = meter.joules()
        if now != before:
            return now, runs
    raise UsageError(f"the device's energy counter did not move for {_STILL_S:g} seconds")
