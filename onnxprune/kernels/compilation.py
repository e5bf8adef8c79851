"""The library of kernels, compiled on this machine.

Installing the package builds it where there is a compiler (`setup` declares it as optional). Where one appears later,
`build` makes it in a folder of the user's, under a name that holds a digest of sources and flags: another version of
the package never loads it by mistake.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from onnxprune.core.errors import InputError, OutputError

__all__ = ["BuildError", "build", "cache_path", "sources"]

FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fvisibility=hidden", "-fPIC", "-shared", "-pthread")
_SOURCES = Path(__file__).with_name("src")
_TIMEOUT_S = 600
_SHOWN_LINES = 12


class BuildError(InputError):
    """The library cannot be compiled here; models run without it, by the bodies of their operators."""


def sources() -> list[Path]:
    """Returns the files that are compiled, sorted."""
    return sorted(_SOURCES.glob("*.cpp"))


def cache_path() -> Path:
    """Returns where `build` puts the library."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "onnxprune" / f"kernels-{digest.hexdigest()[:16]}-{platform.machine()}.so"


def build(target: Path | None = None, *, extra_flags: Sequence[str] = (), compiler: str | None = None) -> Path:
    """Returns the library, compiled anew.

    Args:
        target: Where it goes; None takes `cache_path`.
        extra_flags: Flags for the compiler behind those it always gets.
        compiler: The compiler; None takes $CXX, or g++.

    Raises:
        BuildError: when there is no compiler, or it fails, or this machine is none the kernels are written for.
        OutputError: when the library cannot be written.
    """
    target = target or cache_path()
    program = _compiler(compiler)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
            made = Path(folder) / target.name
            _run([program, *FLAGS, *extra_flags, "-o", str(made), *map(str, sources())])
            made.replace(target)  # whole or not at all: another process may be loading it
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}.") from error
    return target


def _compiler(given: str | None) -> str:
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in ("x86_64", "AMD64"):
        raise BuildError(
            f"The kernels are written for Linux on x86-64; this is {platform.system()} on {machine}. Models run "
            "without them, by the bodies of their operators."
        )
    wanted = given or os.environ.get("CXX") or "g++"
    program = shutil.which(wanted)
    if program is None:
        raise BuildError(
            f"There is no compiler {wanted!r} on PATH. Install g++ (the package g++ or gcc-c++ of your system), or "
            "name one in the environment variable CXX, and call this again. Until then models run without kernels, by "
            "the bodies of their operators."
        )
    return program


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} did not finish within {_TIMEOUT_S} s.") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise BuildError(
            f"{command[0]} failed with status {done.returncode}; the kernels need GCC 9 or newer. It said: "
            + " / ".join(said[:_SHOWN_LINES])
        )
