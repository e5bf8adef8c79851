"""`onnxprune doctor`: what of the environment works.

What is optional may be missing; only a broken torch or onnxruntime ends with exit code 1.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

import click

from onnxprune import __version__
from onnxprune.cli.options import json_option
from onnxprune.core.errors import InputError

__all__ = ["doctor", "examine"]

TOOLS = ("c++", "cmake", "ninja", "nvcc")
_PROBED = ("torch", "onnxruntime")
_ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_TIMEOUT_S = 120


@click.command(short_help="Show what of the environment works.")
@json_option
def doctor(as_json: bool) -> None:
    """Shows versions, execution providers and compilers, and whether torch and onnxruntime work."""
    found = examine()
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(_lines(found)))
    broken = [f"{name} does not work: {_section(found, name)['error']}" for name in _PROBED if not _works(found, name)]
    if broken:
        raise InputError("; ".join(broken) + ". Reinstall onnxprune with its dependencies.")


def examine() -> dict[str, object]:
    """Returns the environment: versions, what torch and onnxruntime say, tools found."""
    return {
        "onnxprune": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": _versions(),
        **{name: _probe(name) for name in _PROBED},
        "tools": {name: _tool(name) for name in TOOLS},
        "kernels": _kernels(),
    }


def _kernels() -> dict[str, object]:
    """Returns whether block-sparse operators run by compiled kernels here, and on a CUDA device."""
    # onnx is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.kernels import available, cuda_state

    found = available()
    answer: dict[str, object] = {"works": bool(found), "isa": found.isa, "reason": found.reason}
    if found.library is None:
        return {**answer, "cuda": {"works": False, "reason": found.reason}}
    cuda = cuda_state(found.library)
    return {**answer, "cuda": {"works": bool(cuda), **dataclasses.asdict(cuda)}}


def _versions() -> dict[str, str | None]:
    """Returns the versions of onnxprune's requirements; None for those that are not installed."""
    try:
        requirements = importlib.metadata.requires("onnxprune") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []  # run from a checkout that is not installed
    names = {re.split(r"[^A-Za-z0-9_.-]", text, maxsplit=1)[0] for text in requirements if "extra ==" not in text}
    versions = {name: _version(name) for name in sorted(names)}
    # either one serves; which one is required depends on the platform
    absent = [name for name in _ONNXRUNTIMES if versions.get(name) is None]
    return {k: v for k, v in versions.items() if k not in absent or len(absent) == len(_ONNXRUNTIMES)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _probe(name: str) -> dict[str, object]:
    command = [sys.executable, "-m", "onnxprune.cli.probe", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"works": False, "error": f"no answer within {_TIMEOUT_S} s"}
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return {"works": False, "error": said[-1] if said else f"its process ended with status {done.returncode}"}
    answer: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"works": True, **answer}


def _tool(name: str) -> str | None:
    """Returns the first line a tool prints for --version that holds a number, or None without the tool."""
    path = shutil.which(name)
    if path is None:
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} (does not run: {error})"
    version = next((line.strip() for line in done.stdout.splitlines() if re.search(r"\d\.\d", line)), "")
    return f"{path} ({version})"


def _section(found: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = found[name]
    return section if isinstance(section, Mapping) else {}


def _works(found: Mapping[str, object], name: str) -> bool:
    return bool(_section(found, name)["works"])


def _lines(found: Mapping[str, object]) -> list[str]:
    rows = [(key, str(found[key])) for key in ("onnxprune", "python", "platform", "cpus")]
    rows += [(name, str(version or "not installed")) for name, version in _section(found, "packages").items()]
    for name in _PROBED:
        details = {key: value for key, value in _section(found, name).items() if key not in ("works", "version")}
        rows.append((f"{name} works", "yes" if _works(found, name) else "NO"))
        rows += [(f"{name} {key.replace('_', ' ')}", _words(value)) for key, value in details.items()]
    rows += [(name, str(version or "not found")) for name, version in _section(found, "tools").items()]
    kernels = _section(found, "kernels")
    rows.append(("kernels", f"yes ({kernels['isa']})" if kernels["works"] else f"no: {kernels['reason']}"))
    cuda = _section(kernels, "cuda")
    found_cuda = f"sm_{cuda.get('architecture')}, {cuda.get('device')}, driver for CUDA {cuda.get('driver')}"
    works = f"yes ({found_cuda}, NVRTC {cuda.get('nvrtc')})"
    rows.append(("kernels on cuda", works if cuda["works"] else f"no: {cuda['reason']}"))
    width = max(len(label) for label, _ in rows)
    return [f"{label:<{width}}  {text}" for label, text in rows]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {'works' if works else 'does not start here'}" for name, works in value.items())
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)
