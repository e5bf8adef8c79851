"""Text files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnxprune.graph import Staging

__all__ = ["write_text", "write_texts"]


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` in UTF-8.

    Raises:
        OutputError: when the folder is missing, the place cannot be written or the disk is full;
            what stood at `path` before still stands.
    """
    write_texts({path: text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Writes each text to its path in UTF-8, all or none.

    Raises:
        OutputError: as `write_text`.
    """
    with Staging() as staging:
        for path, text in texts.items():
            staging.open(path).write(text.encode("utf-8"))
