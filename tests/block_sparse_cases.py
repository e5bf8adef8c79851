"""Random block-sparse layers as models, and what they should compute."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxprune.kernels import Activation, Window, attach, build, conv_node, matmul_node, reference, register
from onnxprune.kernels.compilation import cache_path

__all__ = [
    "ELEMENTS",
    "PARAMETERS",
    "ConvCase",
    "MatMulCase",
    "activation",
    "kernel_library",
    "model_of",
    "run_session",
    "session_of",
]

PARAMETERS = {"alpha": 0.2, "beta": 0.4, "min": -0.5, "max": 0.75}
ELEMENTS = {
    np.dtype(t): helper.np_dtype_to_tensor_dtype(np.dtype(t))
    for t in ("float16", "float32", "float64", ml_dtypes.bfloat16)
}


@cache
def kernel_library() -> Path:
    """Returns the library, built from the sources as they are; made once for all runs that have the same.

    ONNXPRUNE_TEST_LIBRARY names another, such as one with a sanitizer.
    """
    if "ONNXPRUNE_TEST_LIBRARY" in os.environ:
        return Path(os.environ["ONNXPRUNE_TEST_LIBRARY"])
    path = cache_path()
    return path if path.is_file() else build()


def activation(name: Any) -> Activation:
    """Returns an activation with parameters that tell it from its defaults."""
    return Activation(name, {key: PARAMETERS[key] for key in ACTIVATION_PARAMETERS.get(name, ())})


ACTIVATION_PARAMETERS = {"LeakyRelu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}


def _index(rng: np.random.Generator, tiles: int, kept: int, blocks: int) -> NDArray[np.int64]:
    """Returns int64 [tiles, kept]; blocks in any order, twice where there are too few."""
    rows = [rng.permutation(blocks)[:kept] if kept <= blocks else rng.integers(0, blocks, kept) for _ in range(tiles)]
    return np.array(rows, np.int64).reshape(tiles, kept)


@dataclass(frozen=True)
class MatMulCase:
    """A BlockSparseMatMul: the sizes of `nodes`, and the shape of x before its last dimension."""

    tiles: int
    width: int
    block: int
    kept: int
    inputs: int
    lead: tuple[int, ...] = (5,)
    cut: int = 0
    act: str = ""
    dtype: str = "float32"
    seed: int = 0

    @property
    def outputs(self) -> int:
        return self.tiles * self.width - self.cut

    @property
    def attributes(self) -> dict[str, int]:
        return {"block_k": self.block, "in_features": self.inputs, "out_features": self.outputs}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns x and the weights, by input name."""
        rng = np.random.default_rng(self.seed)
        rows = self.kept * self.block
        index = _index(rng, self.tiles, self.kept, -(-self.inputs // self.block))
        weight = rng.standard_normal((self.tiles, rows, self.width)) / np.sqrt(max(1, rows))
        beyond = (index[:, :, None] * self.block + np.arange(self.block)).reshape(self.tiles, rows) >= self.inputs
        weight[beyond] = 0
        floats = {
            "x": rng.standard_normal((*self.lead, self.inputs)),
            "weight": weight,
            "bias": rng.standard_normal(self.tiles * self.width),
        }
        return {name: value.astype(self.dtype) for name, value in floats.items()} | {"index": index}

    def expected(self, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        return reference.matmul(
            arrays["x"],
            arrays["weight"],
            arrays["index"],
            arrays["bias"],
            block_k=self.block,
            out_features=self.outputs,
            activation=activation(self.act),
        )

    def node(self) -> onnx.NodeProto:
        return matmul_node(["x", "weight", "index", "bias"], "y", activation=activation(self.act), **self.attributes)

    def x_shape(self) -> list[str | int]:
        return [*(f"d{i}" for i in range(len(self.lead))), self.inputs]

    def y_shape(self) -> list[str | int]:
        return [*(f"d{i}" for i in range(len(self.lead))), self.outputs]


@dataclass(frozen=True)
class ConvCase:
    """A BlockSparseConv: the sizes of `nodes`, and the images."""

    tiles: int
    width: int
    block: int
    kept: int
    inputs: int
    image: tuple[int, ...]
    window: Window = field(default_factory=lambda: Window((3, 3), (1, 1, 1, 1)))
    batch: int = 2
    cut: int = 0
    act: str = ""
    bias: bool = True
    dtype: str = "float32"
    seed: int = 0

    @property
    def outputs(self) -> int:
        return self.tiles * self.width - self.cut

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns x and the weights, by input name."""
        rng = np.random.default_rng(self.seed)
        rows, kernel = self.kept * self.block, self.window.kernel_shape
        index = _index(rng, self.tiles, self.kept, -(-self.inputs // self.block))
        weight = rng.standard_normal((self.tiles, self.width, rows, *kernel)) / np.sqrt(max(1, rows * np.prod(kernel)))
        beyond = (index[:, :, None] * self.block + np.arange(self.block)).reshape(self.tiles, rows) >= self.inputs
        weight = np.where(beyond.reshape(self.tiles, 1, rows, *(1,) * len(kernel)), 0.0, weight)
        floats = {
            "x": rng.standard_normal((self.batch, self.inputs, *self.image)),
            "weight": weight.reshape(self.tiles * self.width, rows, *kernel),
        }
        if self.bias:
            floats["bias"] = rng.standard_normal(self.tiles * self.width)
        return {name: value.astype(self.dtype) for name, value in floats.items()} | {"index": index}

    def expected(self, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        return reference.conv(
            arrays["x"],
            arrays["weight"],
            arrays["index"],
            arrays.get("bias"),
            block_c=self.block,
            out_channels=self.outputs,
            window=self.window,
            activation=activation(self.act),
        )

    def node(self) -> onnx.NodeProto:
        return conv_node(
            ["x", "weight", "index", *(["bias"] if self.bias else [])],
            "y",
            tiles=self.tiles,
            block_c=self.block,
            in_channels=self.inputs,
            out_channels=self.outputs,
            window=self.window,
            activation=activation(self.act),
        )

    def x_shape(self) -> list[str | int]:
        return ["batch", self.inputs, *(f"s{i}" for i in range(len(self.image)))]

    def y_shape(self) -> list[str | int]:
        return ["batch", self.outputs, *(f"o{i}" for i in range(len(self.image)))]


def model_of(
    case: MatMulCase | ConvCase,
    arrays: dict[str, NDArray[Any]],
    *,
    opset: int = 18,
    constant: bool = True,
    bodies: bool = True,
) -> onnx.ModelProto:
    """Returns the model of one node.

    Args:
        case: The layer.
        arrays: What `case.arrays` gave.
        opset: Version of the standard operators.
        constant: Whether weights are initializers; else they are inputs.
        bodies: Whether the file gets the bodies.
    """
    element = ELEMENTS[np.dtype(case.dtype)]
    weights = {name: value for name, value in arrays.items() if name != "x"}
    inputs = [helper.make_tensor_value_info("x", element, case.x_shape())]
    if not constant:
        inputs += [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name == "index" else element, value.shape)
            for name, value in weights.items()
        ]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()] if constant else []
    output = helper.make_tensor_value_info("y", element, case.y_shape())
    graph = helper.make_graph([case.node()], "g", inputs, [output], initializers)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("onnxprune", 1)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
    if bodies:
        attach(model)
    return model


def session_of(
    model: onnx.ModelProto, *, kernels: bool, threads: int = 1, library: Path | None = None
) -> ort.InferenceSession:
    """Returns a session.

    Args:
        model: The model.
        kernels: Whether the library is registered.
        threads: Threads within one operator.
        library: The library; None takes `kernel_library`.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if kernels:
        assert register(options, strict=True, library=library or kernel_library())
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_session(session: ort.InferenceSession, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Returns the only output; arrays that are no inputs of the session are left out.

    bfloat16 is numpy's only through ml_dtypes, which onnxruntime does not know.
    """
    fed = {value.name: _ort_value(np.ascontiguousarray(arrays[value.name])) for value in session.get_inputs()}
    (found,) = session.run_with_ort_values(None, fed)
    if found.element_type() != TensorProto.BFLOAT16:
        return np.asarray(found.numpy())
    shape = found.shape()
    content = ctypes.string_at(found.data_ptr(), 2 * int(np.prod(shape)))
    return np.frombuffer(content, ml_dtypes.bfloat16).reshape(shape)


def _ort_value(array: NDArray[Any]) -> ort.OrtValue:
    if array.dtype != ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy(array)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), TensorProto.BFLOAT16)
