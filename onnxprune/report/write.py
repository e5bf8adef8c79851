"""Text files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from onnxprune.graph import Staging

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` in UTF-8.

    Raises:
        OutputError: when the folder is missing, the place cannot be written or the disk is full;
            what stood at `path` before still stands.
    """
    with Staging() as staging:
        staging.open(path).write(text.encode("utf-8"))
