"""record_provenance: writes into the slim model what it was made from, by which recipe and version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnxprune import __version__
from onnxprune.core.provenance import Provenance
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model

__all__ = ["RecordProvenance"]


@dataclass(frozen=True)
class RecordProvenance(Pass):
    """Edits "slim": key-value pairs of its header; those of the user stay.

    Attributes:
        command: What made it.
        recipe: Digest of the options.
        budgets: What was asked.
        source: SHA-256 of what it was made from; "" for that of "original".
    """

    command: str
    recipe: str
    budgets: str = ""
    source: str = ""

    name = "record_provenance"
    needs = ("original", "slim")
    edits = ("slim",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Writes it down."""
        slim = bench.take("slim", Model)
        earlier = Provenance.of_metadata(slim.header.metadata)
        found = Provenance(
            version=__version__,
            command=self.command,
            source=self.source or bench.take("original", Model).sha256,
            recipe=self.recipe,
            budgets=self.budgets,
            lineage=() if earlier is None else (*earlier.lineage, earlier.source),
        )
        others = {key: value for key, value in slim.header.metadata.items() if not key.startswith("onnxprune.")}
        header = replace(slim.header, metadata={**others, **found.to_metadata()})
        return {"slim": slim.with_header(header)}
