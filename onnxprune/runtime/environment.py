"""The machine and the versions behind a run's figures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import onnxruntime as ort

from onnxprune.runtime.cores import usable_cores
from onnxprune.runtime.providers import CUDA, available_providers, is_usable, short_name

__all__ = ["cpu_model", "cuda_devices", "environment"]

_PACKAGES = ("onnxprune", "numpy", "onnx", "onnx-graphsurgeon", "torch")
_QUERY_TIMEOUT_S = 10


def environment() -> dict[str, Any]:
    """Returns versions, processor, cores, providers and devices, as JSON can hold them.

    Packages are asked for their metadata and not imported; one that is missing is None.
    """
    working = [p for p in available_providers() if is_usable(p)]
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
            "onnxruntime": ort.__version__,
        },
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "providers": [short_name(p) for p in available_providers()],
        "working_providers": [short_name(p) for p in working],
        "cuda_devices": list(cuda_devices()) if CUDA in working else [],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Returns the processor's name, or its architecture where the system tells no more."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def cuda_devices() -> tuple[str, ...]:
    """Returns "name, driver version" of each NVIDIA device, none where the driver's tool is absent."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
