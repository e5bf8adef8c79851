"""Text files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from onnxprune.core.errors import OutputError

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 `text` beside `path` and renames it into place.

    Raises:
        OutputError: when the folder is missing, the place cannot be written or the disk is full;
            what stood at `path` before still stands.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
