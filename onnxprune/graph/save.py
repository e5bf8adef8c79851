"""Models out: whole or not at all, the same bytes for the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnxprune.core.errors import OutputError
from onnxprune.graph.data_file import DataFile
from onnxprune.graph.export import export_model
from onnxprune.graph.model import MAX_EMBEDDED_BYTES, Model
from onnxprune.graph.staging import Staging

__all__ = ["save_model"]


def save_model(
    model: Model, path: str | Path, *, external: bool | None = None, check: Callable[[Path], None] | None = None
) -> list[Path]:
    """Writes a model and returns the files written: the model, then its data file if there is one.

    With external data, tensors of 1 KiB and more go to `<name>.data` beside the model, one
    after the other. Model and data file appear together or not at all, and what was there
    before stays when anything fails.

    Args:
        model: The model.
        path: Where it goes.
        external: Whether weights go into a data file; None: when the source had one, or the
            weights are too large for an ONNX file.
        check: Called with the complete file, its data file beside it, before either gets its
            place; what it raises leaves everything as it was.

    Raises:
        OutputError: when the place cannot be written, or is the source itself.
        ModelError: when `external` is False and the weights are too large, or the source's data
            file changed meanwhile.
    """
    target = Path(path)
    data = target.with_name(target.name + ".data") if target.name else target
    if external is None:
        external = model.external_data or model.weight_bytes() > MAX_EMBEDDED_BYTES
    _refuse_sources(model, (target, data) if external else (target,))
    with Staging() as staging:
        store = DataFile(data.name, lambda: staging.open(data))
        proto = export_model(model.graph, model.header, store.place) if external else model.to_proto()
        file = staging.open(target)
        file.write(proto.SerializeToString(deterministic=True))
        written = staging.finish()
        if check is not None:
            check(written[target])
    return [target, data] if store.used else [target]


def _refuse_sources(model: Model, targets: tuple[Path, ...]) -> None:
    sources = ([model.path] if model.path is not None else []) + list(model.data_files)
    for target in targets:
        for source in sources:
            if target.exists() and source.exists() and target.samefile(source):
                raise OutputError(
                    f"{target} is {source}, which the model is read from. Give another path for the output."
                )
