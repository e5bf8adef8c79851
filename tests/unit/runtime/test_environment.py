"""What a report says of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys

import pytest

from onnxprune.runtime.cores import usable_cores
from onnxprune.runtime.environment import cpu_model, cuda_devices, environment

# the package's attribute of this name is the function
MODULE = sys.modules["onnxprune.runtime.environment"]


def test_environment_is_json_with_the_versions_installed() -> None:
    found = json.loads(json.dumps(environment()))
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["onnx"] == importlib.metadata.version("onnx")
    assert found["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert found["versions"]["onnxruntime"]
    assert found["cpu"] == cpu_model() != ""
    assert 1 <= found["usable_cores"] == usable_cores() <= found["cores"]
    assert "cpu" in found["working_providers"]
    assert set(found["working_providers"]) <= set(found["providers"])


def test_environment_imports_no_torch() -> None:
    code = (
        "import sys\nfrom onnxprune.runtime.environment import environment\n"
        "found = environment()\nprint('torch' in sys.modules, 'torch' in found['versions'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_missing_package_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_PACKAGES", ("surely-not-installed",))
    assert environment()["versions"]["surely-not-installed"] is None


def test_devices_are_read_from_the_drivers_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="Card A, 555.1\nCard B, 555.1\n", stderr="")
    monkeypatch.setattr(MODULE.shutil, "which", lambda _: "/bin/tool")
    monkeypatch.setattr(MODULE.subprocess, "run", lambda *_, **__: answer)
    assert cuda_devices() == ("Card A, 555.1", "Card B, 555.1")


def test_no_devices_without_the_drivers_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE.shutil, "which", lambda _: None)
    assert cuda_devices() == ()
