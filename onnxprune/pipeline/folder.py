"""The folder of a run: what was asked, the plan, checkpoints, the report; and going on after a kill.

Everything before training is worked out anew when a run goes on, from the same options and the
same model, so it comes out the same; training goes on from its checkpoint. `run.json` says what
the folder belongs to.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from onnxprune.core.decision import Decision
from onnxprune.core.errors import InputError, OutputError
from onnxprune.report.write import write_text

try:
    import fcntl
except ImportError:  # not on Windows, where a second run in one folder goes unnoticed
    fcntl = None  # type: ignore[assignment]

__all__ = ["RunFolder", "checkpoint_folder", "run_folder"]

_VERSION = 1
_FILE, _LOCK = "run.json", "lock"
_TRAINING = "training"
_TEXTS = ("plan.json", "report.json")
_DECISION = "decision"
# these may differ when a run goes on: they change no weight
_FREE = frozenset(
    (
        "batches",
        "checkpoint_seconds",
        "compile",
        "device",
        "eval_data",
        "gates",
        "out",
        "profile",
        "provider",
        "report",
        "resume",
        "run_dir",
        "threads",
    )
)


def checkpoint_folder(path: Path | None, phase: int) -> Path | None:
    """Returns where the training of a phase keeps its checkpoint; phase 0 comes before the first cut."""
    return None if path is None else path / f"{_TRAINING}-{phase}"


class RunFolder:
    """One run's place on disk.

    Args:
        path: The folder.
        resume: Whether training goes on from what is there.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.resume = resume

    def write(self, name: str, text: str) -> None:
        """Writes a text file, whole or not at all.

        Raises:
            OutputError: when the place cannot be written.
        """
        write_text(self.path / name, text)

    def decision(self, phase: int) -> Decision | None:
        """Returns what a phase decided before the run was stopped, where the run goes on and it got so far.

        Raises:
            InputError: when the file is damaged.
        """
        path = self.path / f"{_DECISION}-{phase}.json"
        if not self.resume or not path.exists():
            return None
        try:
            return Decision.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}.") from error

    def decide(self, phase: int, decision: Decision) -> None:
        """Keeps what a phase decided.

        Raises:
            OutputError: when the place cannot be written.
        """
        self.write(f"{_DECISION}-{phase}.json", decision.to_json())

    @property
    def has_checkpoint(self) -> bool:
        """Whether some training got so far that losing it would be a loss."""
        return any(any(folder.iterdir()) for folder in self.trainings())

    def trainings(self) -> list[Path]:
        """Returns the folders of `checkpoint_folder` that are there."""
        found = self.path.glob(f"{_TRAINING}-*")
        return [path for path in found if path.name.removeprefix(f"{_TRAINING}-").isdecimal() and path.is_dir()]

    def remove(self) -> None:
        """Removes what a run leaves, and the folder where nothing else is in it."""
        for path in self.trainings():
            shutil.rmtree(path, ignore_errors=True)
        names = (_FILE, _LOCK, *_TEXTS, *(path.name for path in self.path.glob(f"{_DECISION}-*.json")))
        # a process that was killed while it wrote leaves its half under a hidden name
        halves = [path for name in names for path in self.path.glob(f".{name}.*.tmp")]
        for path in (*(self.path / name for name in names), *halves):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something that is not ours
            self.path.rmdir()


@contextmanager
def run_folder(
    path: Path | None, options: Mapping[str, Any], model_sha256: str, *, resume: bool, temporary: bool
) -> Iterator[RunFolder | None]:
    """Gives the folder of a run while the block lasts, and marks it as done at its end.

    Args:
        path: The folder; None for a run that leaves nothing behind.
        options: What was asked.
        model_sha256: Hash of the model's file.
        resume: Whether to go on with the run that the folder holds; where it holds none, one begins,
            so that a job that is restarted may always ask for it.
        temporary: Whether the folder goes when the run is done, or ends before anything was trained.

    Raises:
        InputError: when what the folder holds is damaged, or was another run.
        OutputError: when the folder holds a run that did not finish, is in use, or cannot be written.
    """
    if path is None:
        yield None
        return
    folder = RunFolder(path, resume=resume and (path / _FILE).exists())
    asked = {"onnxprune_run": _VERSION, "model_sha256": model_sha256, "options": _deciding(options)}
    with _made(path), _locked(path):
        _check(folder, asked)
        folder.write(_FILE, _text(asked | {"done": False}))
        if not folder.resume:  # what an earlier, finished run decided is not this one's
            for old in path.glob(f"{_DECISION}-*.json"):
                old.unlink(missing_ok=True)
        try:
            yield folder
        except BaseException:
            if temporary and not folder.has_checkpoint:
                folder.remove()
            raise
        folder.write(_FILE, _text(asked | {"done": True}))
        if temporary:
            folder.remove()


def _deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _FREE}


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


@contextmanager
def _made(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The run folder {path} cannot be made: {error.strerror}. Name another with --run-dir."
        ) from error
    yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps a second run out; the lock goes with the process, however it ends."""
    try:
        file: IO[str] = (path / _LOCK).open("w", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"The run folder {path} cannot be written: {error.strerror}. Name another with --run-dir."
        ) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(
                    f"The run folder {path} is in use by another run. Wait for it, or name another with --run-dir."
                ) from None
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _check(folder: RunFolder, asked: Mapping[str, Any]) -> None:
    """Checks that the folder is free, or that what it holds is what was asked."""
    found = _read(folder.path / _FILE)
    if not folder.resume:
        if found is not None and not found.get("done") and folder.has_checkpoint:
            raise OutputError(
                f"The folder {folder.path} holds a run that did not finish. Add --resume to go on with it, or remove "
                "the folder to begin anew."
            )
        for old in folder.trainings():
            shutil.rmtree(old, ignore_errors=True)
        return
    if found is None:
        raise InputError(f"{folder.path / _FILE} is damaged, so the run cannot go on. Remove the folder, begin anew.")
    if found.get("model_sha256") != asked["model_sha256"]:
        raise InputError(f"The run in {folder.path} was of another model file. Give that file, or begin anew.")
    before, now = found.get("options", {}), asked["options"]
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        listed = "; ".join(f"{name}: {before.get(name)} then, {now.get(name)} now" for name in changed)
        raise InputError(f"The run in {folder.path} had other options ({listed}). Give the same, or begin anew.")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("onnxprune_run") == _VERSION else None
