"""ONNX files and protos in: checked, imported into GraphSurgeon, weights unread."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues
from onnx_graphsurgeon.logger import G_LOGGER
from onnx_graphsurgeon.util.exception import OnnxGraphSurgeonException

from onnxprune.core.errors import ModelError
from onnxprune.graph.check import check_structure, check_tensor, check_text, check_with_onnx, tensors_of
from onnxprune.graph.external import external_values, is_external
from onnxprune.graph.header import header_of
from onnxprune.graph.inline import inline_functions
from onnxprune.graph.model import Model
from onnxprune.graph.origin import Aside, reattach, set_aside
from onnxprune.graph.sort import sort_graph_proto
from onnxprune.graph.values import EmbeddedValues, ExternalValues, StoredValues, Values, is_float, value_slabs

__all__ = ["check_finite", "load_model"]

_MAX_PROTO_BYTES = 2**31 - 1
_LISTED = 5
_WEIGHT_OPS = (
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "Einsum",
    "GRU",
    "Gemm",
    "GroupNormalization",
    "InstanceNormalization",
    "LSTM",
    "LayerNormalization",
    "MatMul",
    "Mul",
    "PRelu",
    "RMSNormalization",
    "RNN",
)


def load_model(source: str | Path | onnx.ModelProto, *, inline: bool = False) -> Model:
    """Returns a model, its weights unread.

    Args:
        source: Path of an ONNX file, or a ModelProto, which is left as it is.
        inline: Whether calls of model-local functions are replaced by what the functions do.

    Raises:
        ModelError: when it is not a model, is damaged, is older or newer than supported, or has
            external data that is missing or lies outside the model's folder.
    """
    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
        digest = hashlib.sha256(source.SerializeToString(deterministic=True)).hexdigest()
        return _import(proto, "The model in memory", None, digest, inline)
    path = Path(source)
    data = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    proto = _parse(data, path)
    del data
    return _import(proto, str(path), path, digest, inline)


def _read(path: Path) -> bytes:
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise ModelError(f"{path} is a folder. Give the .onnx file inside it.")
        if not stat.S_ISREG(info.st_mode):
            raise ModelError(f"{path} is not a regular file. Give an .onnx file.")
        if info.st_size == 0:
            raise ModelError(f"{path} is empty (0 bytes). Export or download the model again.")
        if info.st_size > _MAX_PROTO_BYTES:
            raise ModelError(
                f"{path} has {info.st_size / 1e9:.2f} GB; an ONNX file holds at most 2 GB. Save the model with its "
                "weights as external data (onnx.save with save_as_external_data=True)."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"There is no file {path}. Give the path of an .onnx file.") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ModelError(f"{path} cannot be read: {error}. Give the path of a readable .onnx file.") from error


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{path} is not an ONNX model, or is truncated: its {len(data)} bytes do not parse as one ({error}). "
            "Export or download it again."
        ) from error
    return proto


def _import(proto: onnx.ModelProto, what: str, path: Path | None, digest: str, inline: bool) -> Model:
    check_structure(proto, what)
    check_text(proto, what)
    external = [is_external(tensor) for tensor in _checked_tensors(proto)]
    sort_graph_proto(proto.graph)
    check_with_onnx(proto, what)
    if inline and proto.functions:
        inline_functions(proto)
        sort_graph_proto(proto.graph)
    header = header_of(proto)
    del proto.functions[:]
    aside = set_aside(proto.graph)
    folder = None if path is None else path.parent
    graph = _graph(proto, aside, folder, what)
    files = {c._values.path for c in _constants(graph) if isinstance(c._values, ExternalValues)}
    return Model(graph, header, path, digest, any(external), tuple(sorted(files)))


def _checked_tensors(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    tensors = list(tensors_of(proto.graph))
    for tensor in tensors:
        check_tensor(tensor)
    return tensors


def _graph(proto: onnx.ModelProto, aside: Aside, folder: Path | None, what: str) -> gs.Graph:
    try:
        with G_LOGGER.suppress():
            graph = gs.import_onnx(proto)
    except (OnnxGraphSurgeonException, KeyError) as error:  # KeyError: an element type that onnx has no name for
        raise ModelError(
            f"{what} is not a valid ONNX model: GraphSurgeon does not know {error}. Export or download it again."
        ) from error
    reattach(graph, aside)
    for constant in _constants(graph):
        if isinstance(constant._values, LazyValues) and not isinstance(constant._values, SparseValues | StoredValues):
            tensor = constant._values.tensor
            constant.values = external_values(tensor, folder) if is_external(tensor) else EmbeddedValues(tensor)
            constant.data_location = None
    return graph


def _constants(graph: gs.Graph) -> list[gs.Constant]:
    """Returns every constant of a graph: initializers and tensor attributes, subgraphs included."""
    found = [t for node in graph.nodes for t in node.inputs if isinstance(t, gs.Constant)]
    found += [t for t in graph.outputs if isinstance(t, gs.Constant)]
    for node in graph.nodes:
        for value in node.attrs.values():
            if isinstance(value, gs.Constant):
                found.append(value)
            elif isinstance(value, gs.Graph):
                found += _constants(value)
    return found


def check_finite(model: Model) -> None:
    """Checks that the float initializers hold numbers, reading one after the other.

    NaN is refused everywhere. Infinity is refused where values are multiplied (weights); masks
    and clip bounds hold it for good reason.

    Raises:
        ModelError: when they do not; initializers are named with how many values are wrong.
    """
    wrong: list[str] = []
    for name, constant in model.initializers().items():
        nans, infinite, size = _count_wrong(model.values(name)) if is_float(constant.dtype) else (0, 0, 0)
        if nans:
            wrong.append(f"{name!r} holds NaN in {nans} of {size} values")
        elif infinite and any(node.op in _WEIGHT_OPS for node in constant.outputs):
            wrong.append(f"{name!r} holds infinity in {infinite} of {size} values")
    if wrong:
        more = f", and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise ModelError(
            f"The model's weights are broken: initializer {'; '.join(wrong[:_LISTED])}{more}. Nothing sensible can be "
            "pruned or measured; export the model from a checkpoint whose weights are finite."
        )


def _count_wrong(values: Values) -> tuple[int, int, int]:
    """Returns how many values are NaN, how many are infinite, and how many there are."""
    nans = infinite = size = 0
    for slab in value_slabs(values):
        value = slab.astype(np.float32) if slab.dtype.itemsize < 4 else slab  # numpy knows little of bfloat16
        size += value.size
        if not np.isfinite(value).all():
            nans += int(np.isnan(value).sum())
            infinite += int(np.isinf(value).sum())
    return nans, infinite, size
