"""Energy through NVML: a made-up NVML, since what is counted is arithmetic; and what is said where there is none."""

from __future__ import annotations

import sys
import time
from types import ModuleType
from typing import Any

import pytest

from onnxprune.core.errors import UsageError
from onnxprune.runtime import energy as energy_module
from onnxprune.runtime.energy import energy_per_run, nvml_meter


class Board:
    """A board whose runs take known joules, with a counter that moves every 20 ms of board time."""

    def __init__(self) -> None:
        self.now_s, self.spent_j, self.shown_mj = 0.0, 0.0, 0

    def run(self, seconds: float, joules: float) -> None:
        before = int(self.now_s / 0.02)
        self.now_s += seconds
        self.spent_j += joules
        if int(self.now_s / 0.02) > before:
            self.shown_mj = round(1e3 * self.spent_j)


class FakeNvml(ModuleType):
    """What of pynvml is used."""

    class NVMLError(Exception):
        pass

    def __init__(self, board: Board, names: tuple[str, ...] = ("card",)) -> None:
        super().__init__("pynvml")
        self.board, self.names, self.open, self.fails = board, names, 0, ""

    def _check(self, name: str) -> None:
        if self.fails == name:
            raise self.NVMLError("Not Supported")

    def nvmlInit(self) -> None:
        self._check("nvmlInit")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        return uuid

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.names[handle]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        self._check("nvmlDeviceGetTotalEnergyConsumption")
        self.asked = handle
        return self.board.shown_mj


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """NVML with one device, in place of any that is installed."""
    fake = FakeNvml(Board())
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    return fake


def test_joules_of_a_run_are_those_the_board_took(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    board = nvml.board
    monkeypatch.setattr(energy_module.time, "perf_counter", lambda: board.now_s)
    calls = {"a": lambda: board.run(0.005, 1.5), "b": lambda: board.run(0.0025, 0.5)}
    with nvml_meter() as meter:
        found = energy_per_run(calls, meter, window_s=0.2)
    assert nvml.open == 0
    assert found["a"].joules == pytest.approx(1.5, rel=1e-2)
    assert found["b"].joules == pytest.approx(0.5, rel=1e-2)
    assert found["a"].low <= found["a"].joules <= found["a"].high
    assert found["a"].watts == pytest.approx(300, rel=0.1)
    assert found["a"].windows == 5


def test_a_counter_that_stands_still_is_said(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_module, "_STILL_S", 0.01)
    with nvml_meter() as meter, pytest.raises(UsageError, match=r"did not move for 0\.01 seconds"):
        energy_per_run({"a": lambda: time.sleep(0.001)}, meter, window_s=0.01)
    assert nvml.open == 0


def test_without_nvml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UsageError, match=r"onnxprune\[energy\]"), nvml_meter():
        pass


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("nvmlInit", "NVML does not start here: Not Supported"),
        ("nvmlDeviceGetTotalEnergyConsumption", "does not count its energy: Not Supported"),
    ],
)
def test_what_nvml_cannot_do_is_said(nvml: FakeNvml, fails: str, said: str) -> None:
    nvml.fails = fails
    with pytest.raises(UsageError, match=said), nvml_meter():
        pass
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("visible", "order", "names", "asked"),
    [
        (None, None, ("card",), 0),
        ("1,0", None, ("card", "card"), 1),
        ("1", "PCI_BUS_ID", ("small", "large"), 1),
        ("GPU-77", None, ("card",), "GPU-77"),
    ],
)
def test_the_device_is_the_one_that_cuda_calls_its_first(nvml, monkeypatch, visible, order, names, asked):
    nvml.names = names
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("CUDA_DEVICE_ORDER", order)):
        if value is not None:
            monkeypatch.setenv(name, value)
    with nvml_meter():
        pass
    assert nvml.asked == asked


@pytest.mark.parametrize(
    ("visible", "names", "said"),
    [
        ("0", ("small", "large"), "set CUDA_DEVICE_ORDER=PCI_BUS_ID"),
        ("3", ("card",), "asks for device 3, and there are 1"),
        ("MIG-5", ("card",), "NVML counts whole devices only"),
        ("", ("card",), "CUDA_VISIBLE_DEVICES begins with ''"),
    ],
)
def test_a_device_that_cannot_be_told_is_said(nvml, monkeypatch, visible, names, said):
    nvml.names = names
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UsageError, match=said), nvml_meter():
        pass
    assert nvml.open == 0
