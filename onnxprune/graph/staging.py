"""Files that appear whole or not at all, alone or as a set.

Every file is written in a hidden folder beside its place, flushed to the disk, and moved when
all of them are complete. If a move fails half way, those already done are undone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from onnxprune.core.errors import OutputError

__all__ = ["Staging", "output_error"]


def output_error(path: Path, error: OSError) -> OutputError:
    """Returns what to tell the user about a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "The disk is full or a quota is used up; free space there or write elsewhere"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "The folder is not writable; change its permissions or write elsewhere"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        advice = "Its folder does not exist; create it or write elsewhere"
    else:
        advice = "Write elsewhere"
    return OutputError(f"{path} could not be written: {error.strerror or error}. {advice}. Nothing was changed.")


def _prefix(target: Path) -> str:
    """How hidden folders for `target` begin that processes of this machine make."""
    machine = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f".{target.name[:100]}.{machine}-"


def _sweep(target: Path) -> None:
    """Removes hidden folders that a killed process of this machine left beside `target`."""
    prefix = _prefix(target)
    with contextlib.suppress(OSError):  # what cannot be listed cannot be written either, and that is told
        for old in target.parent.iterdir():
            number = old.name.removeprefix(prefix).split("-")[0]
            if old.name.startswith(prefix) and old.suffix == ".tmp" and number.isdecimal() and not _alive(int(number)):
                shutil.rmtree(old, ignore_errors=True)


def _alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere the same call ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and is another user's
        return True
    return True


class Staging:
    """A context: files opened in it get their names when it ends without an error.

    Raises:
        OutputError: from `open`, `finish` and from the end of the context, when the system
            refuses; an OSError inside the context becomes one too.
    """

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path, BinaryIO]] = []
        self._folders: dict[Path, Path] = {}

    def __enter__(self) -> Staging:
        return self

    def open(self, target: Path) -> BinaryIO:
        """Returns a file to write what `target` will hold."""
        try:
            if target.exists() and not target.is_file():
                raise OutputError(f"{target} exists and is not a file. Give the path of a file.")
            hidden = self._folder(target) / target.name
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            file = os.fdopen(descriptor, "wb")
        except OSError as error:
            raise output_error(target, error) from error
        self._files.append((hidden, target, file))
        return file

    def finish(self) -> dict[Path, Path]:
        """Completes the files, and returns target → where its content lies until the context ends.

        Files that refer to one another by name do so there as they will in their places.
        """
        for _, target, file in self._files:
            if file.closed:
                continue
            try:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            except OSError as error:
                raise output_error(target, error) from error
        return {target: hidden for hidden, target, _ in self._files}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
                self._commit()
            elif isinstance(error, OSError):
                raise output_error(self._files[-1][1] if self._files else Path("?"), error) from error
        finally:
            self._clear()

    def _folder(self, target: Path) -> Path:
        """Returns a hidden folder beside `target`; it is removed in the end, whatever happens."""
        number = 0
        if target.parent not in self._folders:
            _sweep(target)
        while target.parent not in self._folders:
            hidden = target.with_name(f"{_prefix(target)}{os.getpid()}-{number}.tmp")
            number += 1
            if not os.path.lexists(hidden):
                hidden.mkdir()
                self._folders[target.parent] = hidden
        return self._folders[target.parent]

    def _commit(self) -> None:
        done: list[tuple[Path, Path | None]] = []
        try:
            for hidden, target, _ in self._files:
                try:
                    done.append((target, self._keep(target)))
                    hidden.replace(target)
                except OSError as error:
                    raise output_error(target, error) from error
        except BaseException:
            for target, old in reversed(done):
                if old is None:
                    target.unlink(missing_ok=True)
                elif not (target.exists() and target.samefile(old)):  # else it was not moved yet
                    old.replace(target)
            raise
        for folder in self._folders:
            _sync_folder(folder)

    def _keep(self, target: Path) -> Path | None:
        """Returns a second name for what is at `target` now, None when there is nothing."""
        if not target.exists():
            return None
        kept = self._folders[target.parent] / "kept"
        kept.mkdir(exist_ok=True)
        second = kept / target.name
        try:
            os.link(target, second)
        except OSError:  # file systems without hard links
            target.rename(second)
        return second

    def _clear(self) -> None:
        for _, _, file in self._files:
            with contextlib.suppress(OSError):  # a full disk also fails the flush inside close
                file.close()
        for hidden in self._folders.values():
            shutil.rmtree(hidden, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder; the files are synced
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
