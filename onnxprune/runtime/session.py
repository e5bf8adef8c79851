"""Sessions of onnxruntime: made quietly, fed with checked arrays, read by output name."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import onnx
import onnxruntime as ort

from onnxprune.core.errors import ModelError
from onnxprune.graph import Model
from onnxprune.kernels import DOMAIN, register
from onnxprune.runtime.cores import usable_cores
from onnxprune.runtime.errors import ORT_ERRORS, explain
from onnxprune.runtime.formats import declared_ir, leading_ir, newest_ir, newest_opsets_allowed, quiet_options, readable
from onnxprune.runtime.large import fit_protobuf, with_data_file
from onnxprune.runtime.provider_options import fit_options, provider_chain
from onnxprune.runtime.providers import resolve_provider
from onnxprune.runtime.values import AnyArray, check_feeds, from_ort_value, is_numpy_type, to_ort_values

__all__ = ["ModelSource", "Session", "make_session", "run"]

ModelSource: TypeAlias = Model | onnx.ModelProto | bytes | Path
Session: TypeAlias = ort.InferenceSession
_NAMES = b"BlockSparse"
"""How the names of our operators begin."""


def make_session(
    model: ModelSource,
    *,
    provider: str = "cpu",
    threads: int | None = None,
    optimize: bool = True,
    folder: Path | None = None,
    lean: bool = False,
    kernels: bool = True,
    profile: Path | None = None,
    cuda_graph: bool = False,
) -> Session:
    """Returns a session that runs `model`.

    Args:
        model: A model, a proto, its serialized bytes, or its file. All but bytes may hold more
            than 2 GB; large weights of a `Model` go to a temporary file that onnxruntime maps.
        provider: As `resolve_provider` takes it.
        threads: Threads within one operator; None takes one for each physical core this process
            may use.
        optimize: Whether onnxruntime may fuse and rewrite the graph.
        folder: Where the external data of a model given in memory lies.
        lean: Whether memory matters more than speed: weights are used where they are mapped, and
            nothing is kept for the next run.
        kernels: Whether block-sparse operators run by our kernels where those run here, not by their bodies.
        profile: How the file begins that `Session.end_profiling` writes; None for no profile.
        cuda_graph: Whether CUDA records a run and replays it; see `cuda_graph`, which says where that is legal.

    Raises:
        ModelError: when onnxruntime cannot load the model.
        UsageError: when the provider does not work here.
    """
    first = resolve_provider(provider)
    options = _options(threads, optimize)
    fit_options(options, first)
    providers = provider_chain(first, options.intra_op_num_threads, cuda_graph=cuda_graph)
    own = kernels and _has_own_operators(model)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if lean:
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch:
        content, data_folder = _content(model, folder, Path(scratch))
        if data_folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(data_folder))
        if own:
            names = [name for name, _ in providers]
            register(options, providers=names, model=Path(content) if isinstance(content, str) else content)
        try:
            with newest_opsets_allowed():
                return ort.InferenceSession(content, options, providers=providers)
        except ORT_ERRORS as error:
            where = f"{model}: " if isinstance(model, Path) else ""
            raise ModelError(
                f"{where}onnxruntime {ort.__version__} cannot load the model: {explain(error)}."
            ) from error


def _options(threads: int | None, optimize: bool) -> ort.SessionOptions:
    options = quiet_options()
    # Workers that go on spinning after a run take the cores from the session that is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Left alone, onnxruntime counts and pins to cores that this process may not use.
    options.intra_op_num_threads = threads or usable_cores()
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _has_own_operators(model: ModelSource) -> bool:
    """Returns whether a model may hold block-sparse operators."""
    if isinstance(model, Model):
        return DOMAIN in model.header.opset_imports
    if isinstance(model, onnx.ModelProto):
        return any(entry.domain == DOMAIN for entry in model.opset_import)
    if isinstance(model, bytes):
        return _NAMES in model
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_NAMES) >= 0
    except (OSError, ValueError):  # what is wrong with the file is onnxruntime's to say
        return False


def _content(model: ModelSource, folder: Path | None, scratch: Path) -> tuple[bytes | str, Path | None]:
    """Returns what the session reads, and the folder of its external data when it reads bytes."""
    if isinstance(model, Model):
        model, folder = with_data_file(model, scratch)
    if isinstance(model, Path):
        if declared_ir(model) <= newest_ir():
            return str(model), None
        return readable(model.read_bytes(), declared_ir(model)), model.resolve().parent
    if isinstance(model, bytes):
        return readable(model, leading_ir(model[:2])), folder
    model, folder = fit_protobuf(model, folder, scratch)
    return readable(model.SerializeToString(), model.ir_version), folder


def run(session: Session, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Returns the outputs of one run, by name.

    Args:
        session: The session.
        feeds: Input name → array of the input's dtype and shape.

    Raises:
        DataError: when the arrays do not fit the model's inputs.
        ModelError: when the model fails while it runs.
    """
    check_feeds(session, feeds)
    names = [o.name for o in session.get_outputs()]
    try:
        if all(is_numpy_type(v.type) for v in (*session.get_inputs(), *session.get_outputs())):
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))
        values = session.run_with_ort_values(names, to_ort_values(feeds))
    except ORT_ERRORS as error:
        shapes = ", ".join(f"{n} {a.dtype} {list(a.shape)}" for n, a in feeds.items())
        raise ModelError(f"onnxruntime cannot run the model on {shapes}: {explain(error)}.") from error
    return {n: from_ort_value(v) for n, v in zip(names, values, strict=True)}
