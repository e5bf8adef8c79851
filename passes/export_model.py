"""export_model: writes the slim model, whole or not at all, and runs what was written first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.core.errors import CertificateError
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, load_model, save_model
from onnxprune.runtime import FeedPair, OutputDifference, compare, make_session, run, stand_in

__all__ = ["ExportModel", "read_back"]

# The same graph, weights and runtime: nothing but the order of a sum may differ.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ExportModel(Pass):
    """Gives "files": the paths written; none for a model that stays in memory.

    Attributes:
        path: Where the slim model goes, or None.
    """

    path: Path | None

    name = "export_model"
    needs = ("slim", "feeds")
    gives = ("files",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Writes.

        Raises:
            OutputError: when the place cannot be written.
            CertificateError: when the written file computes something else; it is removed.
        """
        slim, feeds = bench.take("slim", Model), bench.take("feeds", FeedPair)
        if self.path is None:
            return {"files": ()}

        def check(written: Path) -> None:
            for difference in read_back(written, slim, feeds):
                if not difference.max_rel <= TOLERANCE:
                    raise CertificateError(
                        f"The file written for {self.path} differs from the checked model in output "
                        f"'{difference.name}' by {difference.max_rel:.3g} of its largest magnitude, and was removed. "
                        "This is a defect of onnxprune; please report it with the model."
                    )

        return {"files": tuple(save_model(slim, self.path, check=check))}


def read_back(written: Path, model: Model, feeds: FeedPair) -> tuple[OutputDifference, ...]:
    """Returns how far the outputs of a file lie from those of the model written to it."""
    reference, found = stand_in(model), stand_in(load_model(written))
    expected = make_session(reference.model.to_proto(), optimize=False)
    # the file itself where it runs, so that onnxruntime resolves its external data as a user's session will
    session = make_session(found.model.to_proto() if found.notes else written, optimize=False)
    return compare(run(expected, feeds.first), run(session, feeds.first))
