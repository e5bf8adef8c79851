"""How long a model takes in a fresh process until the first answer is there, and how much memory.

    python -m onnxprune.runtime.fresh_start FOLDER

is such a process: it reads FOLDER/request.json and FOLDER/feeds.npz, and prints one JSON line. Models take
turns; the time of importing libraries is left out, since it is the same for all.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.runtime.session import make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["FreshStart", "fresh_starts"]

_REQUEST, _FEEDS = "request.json", "feeds.npz"
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class FreshStart:
    """Medians over `n` processes.

    Attributes:
        load_ms: Until the session stands.
        first_run_ms: The first run.
        memory_bytes: By how much the process grew at most, from before loading; None where the system does not tell.
        n: Processes.
    """

    load_ms: float
    first_run_ms: float
    memory_bytes: int | None
    n: int


def fresh_starts(
    models: Mapping[str, Path],
    feeds: Mapping[str, AnyArray],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    repeats: int = 5,
) -> dict[str, FreshStart]:
    """Returns model → how it starts.

    Args:
        models: Name → file.
        feeds: Input name → array, for every model.
        provider: As `resolve_provider` takes it.
        threads: As `make_session` takes it.
        repeats: Processes for each model.

    Raises:
        ModelError: when a model does not start.
    """
    found: dict[str, list[dict[str, float | None]]] = {name: [] for name in models}
    with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        with (folder / _FEEDS).open("wb") as file:
            np.savez(file, **dict[str, Any](feeds))
        for turn in range(repeats):
            for name in models if turn % 2 == 0 else reversed(list(models)):
                request = {"model": str(models[name].resolve()), "provider": provider, "threads": threads}
                (folder / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
                found[name].append(_start(models[name], folder))
    return {name: _summary(starts) for name, starts in found.items()}


def _start(model: Path, folder: Path) -> dict[str, float | None]:
    command = [sys.executable, "-m", "onnxprune.runtime.fresh_start", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ModelError(f"{model}: a fresh process cannot run the model: {said[0]}")
    result: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return result


def _summary(starts: list[dict[str, float | None]]) -> FreshStart:
    def middle(key: str) -> float:
        return float(np.median([start[key] for start in starts]))

    told = all(start["memory_bytes"] is not None for start in starts)
    return FreshStart(
        middle("load_ms"), middle("first_run_ms"), int(middle("memory_bytes")) if told else None, len(starts)
    )


def _answer(folder: Path) -> FreshStart:
    """Returns what this process has measured of itself."""
    request = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    with np.load(folder / _FEEDS, allow_pickle=False) as arrays:
        feeds = {name: arrays[name] for name in arrays.files}
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):  # what importing took at most is forgotten
        _FORGET.write_text("5", encoding="utf-8")
    began = time.perf_counter()
    session = make_session(Path(request["model"]), provider=request["provider"], threads=request["threads"])
    loaded = time.perf_counter()
    run(session, feeds)
    ran = time.perf_counter()
    most = _memory("VmHWM")
    grown = None if before is None or most is None else max(0, most - before)
    return FreshStart(1e3 * (loaded - began), 1e3 * (ran - loaded), grown, 1)


def _memory(field: str) -> int | None:
    """Returns a figure of this process's memory in bytes, or None where the system has no such file."""
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key == field:
            return 1024 * int(value.split()[0])
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_answer(Path(sys.argv[1])))) + "\n")
