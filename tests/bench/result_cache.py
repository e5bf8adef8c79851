"""Finished runs as JSON files in a folder, so that an interrupted benchmark goes on.

A run is found again by its settings. The folder does not know which version of the code made it:
give another one after a change that matters.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["ResultCache", "beside", "percent"]

DIGITS = 16


class ResultCache:
    """One file per setting.

    Args:
        folder: Where they lie; made where missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the result for a setting, or None.

        Args:
            key: The setting as JSON values; "what" tells kinds of runs apart.
        """
        path = self._path(key)
        if not path.exists():
            return None
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return result

    def get(self, key: Mapping[str, Any], work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the result for a setting, worked out where it is not there yet.

        Args:
            key: As for `find`; becomes part of the result.
            work: Gives the rest.
        """
        found = self.find(key)
        if found is None:
            start = time.monotonic()
            found = {**key, **work(), "seconds": 0.0}
            found["seconds"] = round(time.monotonic() - start, 1)
            text = json.dumps(found)
            with beside(self._path(key)) as part:
                part.write_text(text + "\n", encoding="utf-8")
            print(text, file=sys.stderr, flush=True)
        return found

    def all(self, what: str) -> list[dict[str, Any]]:
        """Returns every finished run of a kind, in the order of their files' names."""
        paths = sorted(self.folder.glob(f"{what}-{'[0-9a-f]' * DIGITS}.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def place(self, key: Mapping[str, Any]) -> Path:
        """Returns a path without a suffix that no other setting has, for what a run writes."""
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key['what']}-{digest[:DIGITS]}"

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.place(key).with_suffix(".json")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Gives a place beside `path`; what lies there becomes `path` when all went well."""
    part = path.with_name(f".part-{path.name}")
    yield part
    part.replace(path)


def percent(values: Iterable[float | None]) -> str:
    """Returns shares as "85.48" or, of several, "85.48 ± 0.12" (standard deviation of the sample); "" for none."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.2f}{spread}"
