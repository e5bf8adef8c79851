"""The CUDA kernels without onnxruntime: compiled by NVRTC, launched beside PyTorch, compared with cuBLAS.

A `Layer` holds a random tiled weight in device memory. What onnxruntime adds, a few microseconds for each operator, is
the same for dense and sparse layers and is left out here; `block_sparse.py --provider cuda` measures with it.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onnxprune.kernels import available
from onnxprune.kernels.cuda import nvrtc_files

__all__ = ["DTYPES", "ELEMENTS", "SHAPES", "Layer", "dense_call", "expected", "graph_times", "median", "off"]

ELEMENTS = {"float16": 0, "bfloat16": 1, "tf32": 2, "float32": 3}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "tf32": torch.float32, "float32": torch.float32}
SHAPES = ((128, 128, 256, 3), (128, 64, 256, 3), (128, 32, 128, 4), (64, 64, 128, 4), (32, 64, 128, 4), (16, 32, 64, 6))
"""As kShapes in cuda_launch.h: rows, outputs, threads, stages."""
STEP_BYTES, CHUNK_BYTES = 128, 16
_MOST_SHARED_BYTES = 8
_LAUNCHES = 20


class _LayerArgument(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "weight", "chunks", "bias", "y")),
        *(
            (name, ctypes.c_int32)
            for name in (
                *("rows", "outputs", "width", "steps", "pixels", "out_y", "out_x", "in_z", "in_y", "in_x"),
                *("stride_z", "stride_y", "stride_x", "channels", "activation"),
            )
        ),
        ("a", ctypes.c_float),
        ("b", ctypes.c_float),
        ("planar", ctypes.c_int32),
        ("vectors", ctypes.c_int32),
    )


class _WeightArgument(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("source", "chunks", "target")),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("rows", "width", "taps", "steps", "inputs", "by_output")),
    )


@cache
def _library() -> ctypes.CDLL:
    found = available()
    if found.library is None:
        raise RuntimeError(found.reason)
    library = ctypes.CDLL(str(found.library))
    library.onnxprune_cuda_source.restype = ctypes.c_char_p
    return library


@cache
def _driver() -> ctypes.CDLL:
    torch.zeros(1, device="cuda")  # the context is PyTorch's
    return ctypes.CDLL("libcuda.so.1")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise RuntimeError(f"{what}: error {result}")


@cache
def _nvrtc() -> ctypes.CDLL:
    for name in (*nvrtc_files(), "libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so"):
        for builtins in Path(name).parent.glob("libnvrtc-builtins.so*") if "/" in name else ():
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeError("there is no NVRTC")


@cache
def _functions(element: str) -> Mapping[str, ctypes.c_void_p]:
    """Returns the kernels for an element, by name."""
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    major, minor = torch.cuda.get_device_capability()
    words = [f"--gpu-architecture=sm_{major}{minor}", "--std=c++17", f"-DELEMENT={ELEMENTS[element]}"]
    options = [word.encode() for word in (*words, "-DPRODUCTS=1", "-DCOPIES=1")]
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), _library().onnxprune_cuda_source(), b"block_sparse.cu", 0, None, None
    )
    _check(made, "nvrtcCreateProgram")
    _check(nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)), "NVRTC")
    size, module = ctypes.c_size_t(), ctypes.c_void_p()
    _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "nvrtcGetCUBINSize")
    code = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetCUBIN(program, code), "nvrtcGetCUBIN")
    _check(_driver().cuModuleLoadData(ctypes.byref(module), code), "cuModuleLoadData")
    found = {}
    for name, shared in (
        ("copy_weight", 0),
        *((f"product_{m}x{n}", stages * (m + n) * STEP_BYTES) for m, n, _, stages in SHAPES),
    ):
        function = ctypes.c_void_p()
        _check(_driver().cuModuleGetFunction(ctypes.byref(function), module, name.encode()), name)
        if shared:
            _check(_driver().cuFuncSetAttribute(function, _MOST_SHARED_BYTES, shared), name)
        found[name] = function
    return found


def _launch(function: ctypes.c_void_p, blocks: int, threads: int, shared: int, argument: ctypes.Structure) -> None:
    arguments = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    _check(_driver().cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, arguments, None), "launch")


@dataclass(frozen=True)
class Layer:
    """A tiled layer in device memory.

    Attributes:
        element: A key of ELEMENTS.
        dense: The weight with its zeros [K, N].
        packed: As the kernels read it.
        chunks: Which inputs each 16 bytes are, int32 [tiles, steps · 8, 2].
        bias: [N].
        width: T.
    """

    element: str
    dense: torch.Tensor
    packed: torch.Tensor
    chunks: torch.Tensor
    bias: torch.Tensor
    width: int

    @classmethod
    def random(
        cls, element: str, inputs: int, outputs: int, block: int, width: int, sparsity: float, seed: int = 0
    ) -> Layer:
        """Returns a layer whose tiles keep a share 1 - sparsity of their blocks; sizes must divide."""
        rng = np.random.default_rng(seed)
        dtype, tiles, blocks = DTYPES[element], outputs // width, inputs // block
        size = torch.empty((), dtype=dtype).element_size()
        kept = max(1, round(blocks * (1 - sparsity)))
        index = np.stack([np.sort(rng.permutation(blocks)[:kept]) for _ in range(tiles)])
        rows = (index[:, :, None] * block + np.arange(block)).reshape(tiles, kept * block)
        values = torch.from_numpy(rng.standard_normal((tiles, kept * block, width)).astype(np.float32))
        weight = (values / (kept * block) ** 0.5).to("cuda", dtype)
        dense = torch.zeros((tiles, inputs, width), dtype=dtype, device="cuda")
        for tile in range(tiles):
            dense[tile, torch.from_numpy(rows[tile]).cuda()] = weight[tile]
        per_chunk, steps = CHUNK_BYTES // size, -(-kept * block * size // STEP_BYTES)
        chunks = np.full((tiles, steps * STEP_BYTES // CHUNK_BYTES, 2), -1, np.int32)
        chunks[:, :, 1] = 0
        chunks[:, : kept * block // per_chunk, 0] = rows[:, ::per_chunk]
        on_device = torch.from_numpy(chunks).cuda()
        packed = torch.empty((tiles, steps, width, STEP_BYTES // size), dtype=dtype, device="cuda")
        argument = _WeightArgument(
            weight.data_ptr(),
            on_device.data_ptr(),
            packed.data_ptr(),
            packed.numel(),
            *(kept * block, width, 1, steps, inputs, 0),
        )
        _launch(_functions(element)["copy_weight"], min(4096, -(-packed.numel() // 256)), 256, 0, argument)
        torch.cuda.synchronize()
        bias = torch.from_numpy(rng.standard_normal(outputs).astype(np.float32)).to("cuda", dtype)
        whole = dense.permute(1, 0, 2).reshape(inputs, outputs).contiguous()
        return cls(element, whole, packed, on_device, bias, width)

    def chosen(self, rows: int) -> int:
        """Returns the place in SHAPES of what the library would take."""
        processors = torch.cuda.get_device_properties(0).multi_processor_count
        sizes = (ctypes.c_int64(n) for n in (rows, self.dense.shape[1], self.width))
        return int(_library().onnxprune_cuda_shape(*sizes, processors))

    def call(self, x: torch.Tensor, y: torch.Tensor, shape: int) -> Callable[[], None]:
        """Returns a launch that writes y of x with blocks of a shape."""
        m, n, threads, stages = SHAPES[shape]
        rows, inputs = x.shape
        outputs = y.shape[1]
        pointers = [t.data_ptr() for t in (x, self.packed, self.chunks, self.bias, y)]
        argument = _LayerArgument(
            *pointers,
            *(rows, outputs, self.width, self.packed.shape[1], rows, 1, rows, 1, 1, rows, 1, 1, 1, inputs, 0),
            *(0.0, 0.0, 0, 1),
        )
        function = _functions(self.element)[f"product_{m}x{n}"]
        blocks, shared = -(-rows // m) * -(-outputs // n), stages * (m + n) * STEP_BYTES
        return lambda: _launch(function, blocks, threads, shared, argument)


def dense_call(layer: Layer, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """Returns the dense layer by cuBLAS, with the weight as onnxruntime would hold it."""
    return lambda: torch.addmm(layer.bias, x, layer.dense, out=y)


def graph_times(calls: Sequence[Callable[[], None]], rounds: int = 9) -> list[list[float]]:
    """Returns microseconds per call, [calls][rounds]: CUDA graphs of many launches, replayed in turns.

    What a call reads twice may be found in the device's cache, for all calls alike.
    """
    graphs, stream = [], torch.cuda.Stream()
    for call in calls:
        with torch.cuda.stream(stream):
            call()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(_LAUNCHES):
                call()
        graphs.append(graph)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 1):
        for i, graph in enumerate(graphs):
            events[0].record()
            graph.replay()
            events[1].record()
            events[1].synchronize()
            if round_ > 0:
                times[i].append(events[0].elapsed_time(events[1]) * 1e3 / _LAUNCHES)
    return times


def median(values: Sequence[float]) -> float:
    """Returns the median."""
    return statistics.median(values)


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Returns the largest difference, relative to the largest value."""
    return float((found.double() - expected).abs().max() / expected.abs().max())


def expected(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """Returns the layer's output in float64."""
    result: Any = x.double() @ layer.dense.double() + layer.bias.double()
    return result
