"""`onnxprune doctor` shows what works, and fails only where a needed library does not."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from click.testing import CliRunner

from onnxprune.cli import doctor
from onnxprune.cli.main import cli

WORKING: dict[str, dict[str, Any]] = {
    "torch": {"works": True, "version": "2.13.0", "threads": 2, "cuda_devices": []},
    "onnxruntime": {"works": True, "providers": {"cuda": False, "cpu": True}},
}


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the probes answer, so that no process is started."""
    answers = {name: dict(answer) for name, answer in WORKING.items()}
    monkeypatch.setattr(doctor, "_probe", lambda name: answers[name])
    monkeypatch.setattr(doctor, "_tool", lambda name: None)
    return answers


def test_missing_tools_and_devices_are_no_failure(probes: dict[str, dict[str, Any]]) -> None:
    outcome = CliRunner().invoke(cli, ["doctor"])
    assert outcome.exit_code == 0, outcome.output
    shown = " ".join(outcome.stdout.split())
    assert "onnxruntime providers cuda does not start here, cpu works" in shown
    assert "torch cuda devices none" in shown
    assert "nvcc not found" in shown


def test_broken_library_exits_with_one_after_the_result(probes: dict[str, dict[str, Any]]) -> None:
    probes["torch"] = {"works": False, "error": "ImportError: libtorch.so is missing"}
    outcome = CliRunner().invoke(cli, ["doctor", "--json"])
    assert outcome.exit_code == 1
    assert json.loads(outcome.stdout)["torch"]["works"] is False
    assert "torch does not work: ImportError: libtorch.so is missing" in " ".join(outcome.stderr.split())


def test_probe_of_a_missing_library_tells_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(
            command, 1, "", "Traceback …\nModuleNotFoundError: No module named 'torch'\n"
        )

    monkeypatch.setattr(subprocess, "run", end)
    assert doctor._probe("torch") == {"works": False, "error": "ModuleNotFoundError: No module named 'torch'"}


def test_probe_survives_a_process_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -11, "", ""))
    assert doctor._probe("torch") == {"works": False, "error": "its process ended with status -11"}


def test_this_environment_works() -> None:
    found = doctor.examine()
    assert found["torch"]["works"] is True  # type: ignore[index]  # a mapping, as the next lines show
    assert found["onnxruntime"]["providers"]["cpu"] is True  # type: ignore[index]
    assert set(found["tools"]) == set(doctor.TOOLS)  # type: ignore[call-overload]


def test_kernels_on_cuda_are_told_of(probes: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = {"works": True, "driver": "13.0", "nvrtc": "12.9", "device": "A device", "architecture": 90, "reason": ""}
    monkeypatch.setattr(doctor, "_kernels", lambda: {"works": True, "isa": "avx2", "reason": "", "cuda": cuda})
    shown = " ".join(CliRunner().invoke(cli, ["doctor"]).stdout.split())
    assert "kernels on cuda yes (sm_90, A device, driver for CUDA 13.0, NVRTC 12.9)" in shown
    cuda |= {"works": False, "reason": "There is no NVRTC."}
    assert "kernels on cuda no: There is no NVRTC." in " ".join(CliRunner().invoke(cli, ["doctor"]).stdout.split())


def test_kernels_on_cuda_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor._kernels()["cuda"]
    assert isinstance(found, dict)
    assert found["works"] or found["reason"]
