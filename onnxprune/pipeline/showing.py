"""What a model is and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.core.errors import ModelError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.provenance import Provenance
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.kernels import DOMAIN
from onnxprune.passes.import_model import ImportModel
from onnxprune.pipeline.words import ModelLike, model_source

__all__ = ["Shown", "show"]


@dataclass(frozen=True)
class Shown:
    """A model file.

    Attributes:
        model: Its path, "" for a model in memory.
        sha256: Hash of its bytes.
        opset: Version of the standard operator set.
        weight_bytes: Bytes of its weights.
        nodes: How many nodes it has.
        block_sparse: How many of them are block-sparse operators.
        provenance: What made it, or None where onnxprune did not.
    """

    model: str
    sha256: str
    opset: int
    weight_bytes: int
    nodes: int
    block_sparse: int
    provenance: Provenance | None


def show(model: ModelLike, source: ModelLike | None = None, on_event: EventHandler = ignore_events) -> Shown:
    """Returns what a model is and what it was made from.

    Args:
        model: A path or a ModelProto.
        source: The model that it should have been made from, perhaps in several steps; None to ask for no proof.
        on_event: Called with progress.

    Raises:
        ModelError: when a model cannot be read, or was not made from `source`.
    """
    found = _load(model, on_event)
    provenance = Provenance.of_metadata(found.header.metadata)
    if source is not None:
        _check_source(found, provenance, _load(source, on_event))
    nodes = list(found.nodes)
    return Shown(
        model=str(found.path or ""),
        sha256=found.sha256,
        opset=found.opset,
        weight_bytes=found.weight_bytes(),
        nodes=len(nodes),
        block_sparse=sum(node.domain == DOMAIN for node in nodes),
        provenance=provenance,
    )


def _check_source(model: Model, provenance: Provenance | None, source: Model) -> None:
    name = str(model.path or "The model in memory")
    if provenance is None:
        raise ModelError(f"{name}: does not say what it was made from; onnxprune did not write it.")
    known = (*provenance.lineage, provenance.source)
    if source.sha256 not in known:
        raise ModelError(
            f"{name}: was not made from {source.path or 'the model given'} (SHA-256 {source.sha256[:16]}…), but "
            f"from {' by way of '.join(f'{digest[:16]}…' for digest in known)}."
        )


def _load(model: ModelLike, on_event: EventHandler) -> Model:
    bench = Bench(on_event=on_event)
    run_passes([ImportModel(model_source(model))], bench)
    return bench.take("original", Model)
