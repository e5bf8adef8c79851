"""Files that appear whole or not at all, alone or as a set.

Every file is written beside its place under a hidden name, flushed to the disk, and renamed
when all of them are complete. If a rename fails half way, those already done are undone.
"""

from __future__ import annotations

import contextlib
import errno
import os
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


class Staging:
    """A context: files opened in it get their names when it ends without an error.

    Raises:
        OutputError: from `open` and from the end of the context, when the system refuses; an
            OSError inside the context becomes one too.
    """

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path, BinaryIO]] = []
        self._hidden: list[Path] = []

    def __enter__(self) -> Staging:
        return self

    def open(self, target: Path) -> BinaryIO:
        """Returns a file to write what `target` will hold."""
        try:
            if target.exists() and not target.is_file():
                raise OutputError(f"{target} exists and is not a file. Give the path of a file.")
            hidden = self._reserve(target)
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            file = os.fdopen(descriptor, "wb")
        except OSError as error:
            raise output_error(target, error) from error
        self._files.append((hidden, target, file))
        return file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._commit()
            elif isinstance(error, OSError):
                raise output_error(self._files[-1][1] if self._files else Path("?"), error) from error
        finally:
            self._clear()

    def _reserve(self, target: Path) -> Path:
        """Returns a free hidden name beside `target`; it is removed in the end, whatever happens."""
        number = 0
        while True:
            hidden = target.with_name(f".{target.name[:200]}.{os.getpid()}-{number}.tmp")
            if not os.path.lexists(hidden):
                self._hidden.append(hidden)
                return hidden
            number += 1

    def _commit(self) -> None:
        for _, target, file in self._files:
            try:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            except OSError as error:
                raise output_error(target, error) from error
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
                else:
                    old.replace(target)
            raise
        for folder in {target.parent for _, target, _ in self._files}:
            _sync_folder(folder)

    def _keep(self, target: Path) -> Path | None:
        """Returns a second name for what is at `target` now, None when there is nothing."""
        if not target.exists():
            return None
        second = self._reserve(target)
        try:
            os.link(target, second)
        except OSError:  # file systems without hard links
            target.rename(second)
        return second

    def _clear(self) -> None:
        for _, _, file in self._files:
            with contextlib.suppress(OSError):  # a full disk also fails the flush inside close
                file.close()
        for hidden in self._hidden:
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder; the files are synced
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
