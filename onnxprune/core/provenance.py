"""Where a model comes from, as it is written down in the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Provenance"]

_PREFIX = "onnxprune."
_FIELDS = ("version", "command", "source", "recipe", "budgets", "lineage")


@dataclass(frozen=True)
class Provenance:
    """What made a model. Nothing that was measured is in it, so that the same recipe gives the same bytes.

    Attributes:
        version: Of onnxprune.
        command: "compress" or "retrain".
        source: SHA-256 of the file that the model was made from, in hexadecimal.
        recipe: SHA-256 of the options, places of files aside.
        budgets: What was asked, such as "flops 0.4"; empty where nothing was pruned.
        lineage: Sources of that file in turn, where onnxprune made it, too: the oldest first.
    """

    version: str
    command: str
    source: str
    recipe: str
    budgets: str = ""
    lineage: tuple[str, ...] = ()

    def to_metadata(self) -> dict[str, str]:
        """Returns the key-value pairs of a model file."""
        values = {name: getattr(self, name) for name in _FIELDS} | {"lineage": ",".join(self.lineage)}
        return {f"{_PREFIX}{name}": value for name, value in values.items() if value}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Provenance | None:
        """Returns what the key-value pairs of a model file say; None where onnxprune did not make it."""
        found = {name: metadata.get(f"{_PREFIX}{name}", "") for name in _FIELDS}
        if not (found["version"] and found["source"]):
            return None
        lineage = tuple(part for part in found.pop("lineage").split(",") if part)
        return cls(**found, lineage=lineage)
