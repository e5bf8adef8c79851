"""export_model: writes the slim model, whole or not at all, and runs what was written first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.core.errors import CertificateError
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, load_model, save_model
from onnxprune.graph.values import value_digest
from onnxprune.runtime import PART_BYTES, FeedPair, Runner, compare, make_session, run, stand_in

__all__ = ["ExportModel", "difference"]

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
            found = difference(written, slim, feeds)
            if found:
                raise CertificateError(
                    f"The file written for {self.path} is not the model that was checked, and was removed: {found}. "
                    "This is a defect of onnxprune; please report it with the model."
                )

        return {"files": tuple(save_model(slim, self.path, check=check))}


def difference(written: Path, model: Model, feeds: FeedPair) -> str:
    """Returns in what a file differs from the model written to it, "" where it does not.

    Nodes and weights are compared; where onnxruntime can run the model, also what it computes.
    """
    loaded = load_model(written)
    if loaded.fingerprint() != model.fingerprint():
        return "its graph has other nodes or other shapes"
    for name in model.initializers():
        if value_digest(loaded.values(name)) != value_digest(model.values(name)):
            return f"initializer '{name}' holds other values"
    runnable = stand_in(model)
    if runnable.notes or runnable.is_widened:
        return ""
    (expected,) = Runner(model).run(feeds.first)
    for output in compare(expected, _outputs(written, loaded, feeds)):
        if not output.max_rel <= TOLERANCE:
            return f"output '{output.name}' deviates by {output.max_rel:.3g} of its largest magnitude"
    return ""


def _outputs(written: Path, loaded: Model, feeds: FeedPair) -> Mapping[str, Any]:
    """Returns what a file computes: itself, so that external data is resolved as a user's session will."""
    if loaded.weight_bytes() > PART_BYTES:  # too much to hold at once
        return Runner(loaded).run(feeds.first)[0]
    return run(make_session(written, optimize=False), feeds.first)
