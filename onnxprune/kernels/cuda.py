"""Which sessions on CUDA can have our kernels: what driver, NVRTC, device and model allow.

The kernels lie in the library as source. NVRTC compiles them for the device when a session is to have them, and what it
made stays on disk. A session whose model holds one node that they do not cover gets none of them: once an operator is
registered onnxruntime does not try its body, and a node without a kernel would keep the model from loading.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from onnx import NodeProto, TensorProto

from onnxprune.kernels.activation import ACTIVATIONS
from onnxprune.kernels.attach import own_nodes
from onnxprune.kernels.nodes import CONV, DOMAIN, MATMUL, VERSION

__all__ = ["CUDA", "CudaState", "Provider", "cuda_obstacle", "cuda_state", "nvrtc_files", "provider_settings"]

CUDA = "CUDAExecutionProvider"
Provider: TypeAlias = str | tuple[str, Mapping[str, Any]]
"""An execution provider, as onnxruntime takes it: its name, or its name with its options."""

_TEXT_BYTES = 1024
_MULTIPLIED: Mapping[int, int] = {TensorProto.FLOAT16: 0, TensorProto.BFLOAT16: 1, TensorProto.FLOAT: 2}
_UNROUNDED = 3  # float32 where tf32 is not allowed
_OPERATORS = {base + name: base for base in (MATMUL, CONV) for name in ACTIVATIONS}


@dataclass(frozen=True)
class CudaState:
    """What the kernels find of CUDA here; true where they run.

    Attributes:
        driver: The newest CUDA that the driver serves, such as "13.0", or "".
        nvrtc: The version of NVRTC, or "".
        device: Name of the device, or "".
        architecture: Its architecture, such as 90, or 0.
        reason: Why the kernels do not run, or "".
    """

    driver: str
    nvrtc: str
    device: str
    architecture: int
    reason: str

    def __bool__(self) -> bool:
        return not self.reason


class _Library:
    """The part of our library that answers before there is a session."""

    def __init__(self, path: Path) -> None:
        self._loaded = ctypes.CDLL(str(path))
        self._text = ctypes.create_string_buffer(_TEXT_BYTES)
        self._loaded.onnxprune_cuda_search("\n".join(nvrtc_files()).encode())

    def ask(self, question: str, *arguments: Any) -> tuple[int, str]:
        """Returns a number, zero where the answer is no, and a text."""
        self._text.value = b""
        answer = getattr(self._loaded, f"onnxprune_cuda_{question}")(*arguments, self._text, _TEXT_BYTES)
        return int(answer), self._text.value.decode(errors="replace")


def cuda_state(library: Path, *, device: int = 0) -> CudaState:
    """Returns what the kernels find of CUDA here; compiles nothing.

    Args:
        library: The library of kernels.
        device: Number of the device.
    """
    own = _Library(library)
    driver, driver_text = own.ask("driver")
    nvrtc, nvrtc_text = own.ask("nvrtc")
    architecture, device_text = own.ask("device", device) if driver else (0, driver_text)
    reasons = [text for answer, text in ((architecture, device_text), (nvrtc, nvrtc_text)) if not answer]
    return CudaState(
        driver_text if driver else "",
        nvrtc_text if nvrtc else "",
        device_text if architecture else "",
        architecture,
        reasons[0] if reasons else "",
    )


def cuda_obstacle(model: onnx.ModelProto | bytes | Path, library: Path, *, device: int = 0, tf32: bool = True) -> str:
    """Returns what keeps a session on CUDA from having the kernels, as a sentence, or "".

    Where nothing does, the kernels have been compiled for the device, or were found on disk.

    Args:
        model: The model; external data are not read.
        library: The library of kernels.
        device: Number of the device.
        tf32: Whether float32 may be rounded to tf32 before it is multiplied, which is onnxruntime's default.
    """
    proto = _loaded(model)
    own = _Library(library)
    weights = _constants(proto)
    versions = [entry.version for entry in proto.opset_import if entry.domain == DOMAIN]
    outer, inner = own_nodes(proto)
    if (outer or inner) and versions != [VERSION]:
        return f"The model has version {versions[0] if versions else 'none'} of the domain {DOMAIN}, not {VERSION}."
    if inner:
        return f"{_label(inner[0])} lies in a subgraph or a function, where its weight is not known to be a constant."
    for node in outer:
        reason = _uncovered(node, weights, own)
        if reason:
            return f"{_label(node)}: {reason}"
    return _unprepared((weights[node.input[1]].data_type for node in outer), own, device, tf32)


def provider_settings(provider: Provider) -> tuple[int, bool]:
    """Returns the device and whether tf32 is allowed, as the options of the CUDA provider say it."""
    options = {} if isinstance(provider, str) else provider[1]
    return int(options.get("device_id", 0)), str(options.get("use_tf32", 1)) not in ("0", "False", "false")


def _unprepared(elements: Iterable[int], own: _Library, device: int, tf32: bool) -> str:
    """Returns why the kernels for some element types cannot be had, or ""."""
    for element in sorted(set(elements)):
        multiplied = _MULTIPLIED[element] if tf32 or element != TensorProto.FLOAT else _UNROUNDED
        done, reason = own.ask("prepare", device, multiplied)
        if not done:
            return reason
    return ""


def _uncovered(node: NodeProto, weights: Mapping[str, TensorProto], own: _Library) -> str:
    """Returns why the kernels do not cover a node, or ""."""
    base = _OPERATORS.get(node.op_type)
    if base is None:
        return f"it is no operator of version {VERSION}."
    missing = next((name for name in node.input[1:3] if name not in weights), None)
    if missing is not None or len(node.input) < 3:
        return "its weight or its index is not a constant."
    weight = weights[node.input[1]]
    values = {attribute.name: attribute for attribute in node.attribute}
    sizes = list(weight.dims)
    if base == MATMUL:
        if len(sizes) != 3 or "block_k" not in values:
            return "it lacks the attribute block_k, or its weight has not three axes."
        block, width, reaches = values["block_k"].i, sizes[2], []
    else:
        if len(sizes) < 3 or not {"block_c", "group"} <= set(values) or values["group"].i < 1:
            return "it lacks the attributes block_c and group, or its weight has no kernel."
        block, width = values["block_c"].i, sizes[0] // values["group"].i
        dilations = list(values["dilations"].ints) if "dilations" in values else []
        reaches = [(k - 1) * d for k, d in zip(sizes[2:], dilations or [1] * len(sizes[2:]), strict=False)]
    array = (ctypes.c_int64 * len(reaches))(*reaches)
    numbers = ctypes.c_int64(block), ctypes.c_int64(width)
    return own.ask("covers", weight.data_type, *numbers, array, len(reaches))[1]


def _loaded(model: onnx.ModelProto | bytes | Path) -> onnx.ModelProto:
    if isinstance(model, bytes):
        return onnx.load_model_from_string(model)
    if isinstance(model, Path):
        return onnx.load(model, load_external_data=False)
    return model


def _constants(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Returns initializers that no caller can replace."""
    inputs = {value.name for value in model.graph.input}
    return {tensor.name: tensor for tensor in model.graph.initializer if tensor.name not in inputs}


def _label(node: NodeProto) -> str:
    return f"{node.op_type} '{node.name or node.output[0]}'"


def nvrtc_files() -> Sequence[str]:
    """Returns the files in which packages of pip hold NVRTC, the newest first."""
    found = importlib.util.find_spec("nvidia")
    roots = found.submodule_search_locations if found is not None else None
    files = [file for root in roots or () for file in Path(root).glob("*/lib/libnvrtc.so.*")]
    return [str(file) for file in sorted(files, key=_version, reverse=True) if ".alt." not in file.name]


def _version(file: Path) -> tuple[list[int], str]:
    """Returns what sorts libraries by the version in their name, whatever folder they lie in."""
    numbers = file.name.partition(".so.")[2].split(".")
    return [int(number) for number in numbers if number.isdigit()], str(file)
