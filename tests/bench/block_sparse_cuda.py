"""Block-sparse operators against onnxruntime's dense ones on its CUDA provider: kernels and bodies, turn by turn.

Called by `block_sparse.py --provider cuda` and by `gpu_session.py`. MatMul: shapes K×N, MatMul + Add on the dense side.
Conv: chains of four 3×3 Conv + Relu. Inputs and outputs lie on the device; a sample is the wall time of some runs that
follow each other without a wait and one wait at the end, so that a small layer's time is what onnxruntime needs to
start it, dense or sparse. Ratios are of medians, the spread is the interquartile range of ratios of single rounds.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from onnxprune.kernels import Activation, Window, attach, conv_node, matmul_node, register

__all__ = ["CHAIN", "TOLERANCE", "MeasuredOnCuda", "measure_conv", "measure_matmul"]

CHAIN = 4
SAMPLE_S = 0.004
LEAST_ROUNDS = 5
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "tf32": 4e-3, "float32": 1e-4}
_KINDS: dict[str, tuple[Any, int, torch.dtype]] = {
    "float16": (np.float16, TensorProto.FLOAT16, torch.float16),
    "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16, torch.bfloat16),
    "tf32": (np.float32, TensorProto.FLOAT, torch.float32),
    "float32": (np.float32, TensorProto.FLOAT, torch.float32),
}


@dataclass(frozen=True)
class MeasuredOnCuda:
    """One comparison.

    Attributes:
        family: matmul or conv.
        element: float16, bfloat16, tf32, or float32 without tf32.
        shape: K×N, or C×H.
        block: b×T.
        sparsity: Share of the inputs that each tile gives up.
        rows: M, or the batch.
        variant: kernel or body.
        ratio: Dense time over sparse time.
        spread: Interquartile range of the ratios of single rounds.
        dense_us: Median microseconds of a dense run.
        off: Largest difference from the dense output, relative to its largest value.
        rounds: Rounds measured.
    """

    family: str
    element: str
    shape: str
    block: str
    sparsity: float
    rows: int
    variant: str
    ratio: float
    spread: float
    dense_us: float
    off: float
    rounds: int


@dataclass(frozen=True)
class _Tiled:
    """A random tiled weight: index [tiles, kept], rows of a tile [tiles, R], and a mask [K, N]."""

    index: np.ndarray
    rows: np.ndarray

    @classmethod
    def random(
        cls, inputs: int, outputs: int, block: int, width: int, sparsity: float, rng: np.random.Generator
    ) -> _Tiled:
        blocks, tiles = inputs // block, outputs // width
        kept = max(1, round(blocks * (1 - sparsity)))
        index = np.stack([np.sort(rng.permutation(blocks)[:kept]) for _ in range(tiles)]).astype(np.int64)
        return cls(index, (index[:, :, None] * block + np.arange(block)).reshape(tiles, -1))


def measure_matmul(
    element: str,
    shape: tuple[int, int],
    block: tuple[int, int],
    sparsity: float,
    rows: Sequence[int],
    *,
    seconds: float,
    bodies: bool = False,
) -> list[MeasuredOnCuda]:
    """Returns the comparisons of a matrix product for some numbers of rows.

    Args:
        element: As MeasuredOnCuda has it.
        shape: (K, N).
        block: (b, T).
        sparsity: Share of the inputs that each tile gives up.
        rows: Numbers of rows.
        seconds: Seconds of measuring for each number of rows, about.
        bodies: Whether the body is measured too.
    """
    (inputs, outputs), kind = shape, _KINDS[element][0]
    rng = np.random.default_rng(0)
    tiled = _Tiled.random(inputs, outputs, *block, sparsity, rng)
    depth, width = tiled.rows.shape[1], block[1]
    weight = (rng.standard_normal((outputs // width, depth, width), np.float32) / depth**0.5).astype(kind)
    dense = np.zeros((inputs, outputs), kind)
    for tile, chosen in enumerate(tiled.rows):
        dense[chosen, tile * width : (tile + 1) * width] = weight[tile]
    bias = rng.standard_normal(outputs).astype(kind)
    sizes = {"block_k": block[0], "in_features": inputs, "out_features": outputs}
    sparse = _model(
        [matmul_node(["x", "weight", "index", "bias"], "y", **sizes)],
        {"weight": weight, "index": tiled.index, "bias": bias},
        ["rows", inputs],
        element,
        attached=True,
    )
    nodes = [helper.make_node("MatMul", ["x", "dense"], ["t"]), helper.make_node("Add", ["t", "bias"], ["y"])]
    whole = _model(nodes, {"dense": dense, "bias": bias}, ["rows", inputs], element)
    label = ("matmul", element, f"{inputs}x{outputs}", f"{block[0]}x{width}", sparsity)
    sizes_of = [((count, inputs), (count, outputs)) for count in rows]
    return _measure(label, sparse, whole, sizes_of, seconds, bodies)


def measure_conv(
    element: str,
    shape: tuple[int, int],
    block: tuple[int, int],
    sparsity: float,
    batches: Sequence[int],
    *,
    seconds: float,
    bodies: bool = False,
) -> list[MeasuredOnCuda]:
    """Returns the comparisons of a chain of convolutions for some sizes of the batch; arguments as above.

    `shape` is channels and the height and width of images.
    """
    (channels, size), kind, width = shape, _KINDS[element][0], block[1]
    rng, window = np.random.default_rng(0), Window((3, 3), (1, 1, 1, 1))
    nodes: tuple[list[onnx.NodeProto], list[onnx.NodeProto]] = ([], [])
    weights: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for layer in range(CHAIN):
        tiled = _Tiled.random(channels, channels, *block, sparsity, rng)
        depth = tiled.rows.shape[1]
        sparse = rng.standard_normal((channels, depth, 3, 3), np.float32) * (2 / (9 * depth)) ** 0.5
        dense = np.zeros((channels, channels, 3, 3), np.float32)
        for tile, chosen in enumerate(tiled.rows):
            dense[tile * width : (tile + 1) * width, chosen] = sparse[tile * width : (tile + 1) * width]
        x, y = ("x" if layer == 0 else f"h{layer}"), ("y" if layer == CHAIN - 1 else f"h{layer + 1}")
        bias = (0.1 * rng.standard_normal(channels)).astype(kind)
        weights[0].update({f"w{layer}": sparse.astype(kind), f"i{layer}": tiled.index, f"b{layer}": bias})
        weights[1].update({f"w{layer}": dense.astype(kind), f"b{layer}": bias})
        sizes = {"tiles": channels // width, "block_c": block[0], "in_channels": channels, "out_channels": channels}
        names = [x, f"w{layer}", f"i{layer}", f"b{layer}"]
        nodes[0].append(conv_node(names, y, window=window, activation=Activation("Relu"), **sizes))
        nodes[1].append(helper.make_node("Conv", [x, f"w{layer}", f"b{layer}"], [f"c{layer}"], **window.attributes()))
        nodes[1].append(helper.make_node("Relu", [f"c{layer}"], [y]))
    image = ["batch", channels, size, size]
    models = [_model(nodes[i], weights[i], image, element, attached=i == 0) for i in range(2)]
    label = ("conv", element, f"{channels}x{size}", f"{block[0]}x{width}", sparsity)
    sizes_of = [((count, channels, size, size),) * 2 for count in batches]
    return _measure(label, *models, sizes_of, seconds, bodies)


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: list[str | int],
    element: str,
    *,
    attached: bool = False,
) -> onnx.ModelProto:
    kind = _KINDS[element][1]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    if attached:
        attach(model)
    return model


def _session(model: onnx.ModelProto, element: str, kernels: bool) -> ort.InferenceSession:
    providers = [
        ("CUDAExecutionProvider", {"use_tf32": "1" if element == "tf32" else "0"}),
        "CPUExecutionProvider",
    ]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if kernels:
        register(options, strict=True, providers=providers, model=model)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=providers)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("onnxruntime's CUDA provider does not start here")
    return session


def _call(session: ort.InferenceSession, x: torch.Tensor, y: torch.Tensor, kind: int) -> Callable[[], None]:
    binding = session.io_binding()
    binding.bind_input("x", "cuda", 0, kind, tuple(x.shape), x.data_ptr())
    binding.bind_output("y", "cuda", 0, kind, tuple(y.shape), y.data_ptr())
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return lambda: session.run_with_iobinding(binding, options)


def _measure(
    label: tuple[str, str, str, str, float],
    sparse: onnx.ModelProto,
    dense: onnx.ModelProto,
    sizes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    seconds: float,
    bodies: bool,
) -> list[MeasuredOnCuda]:
    element = label[1]
    _, kind, dtype = _KINDS[element]
    sessions = {"dense": _session(dense, element, False), "kernel": _session(sparse, element, True)}
    if bodies:
        sessions["body"] = _session(sparse, element, False)
    found = []
    for x_size, y_size in sizes:
        x = torch.randn(x_size, device="cuda", generator=torch.Generator("cuda").manual_seed(0)).to(dtype)
        outputs = {name: torch.empty(y_size, device="cuda", dtype=dtype) for name in sessions}
        calls = {name: _call(session, x, outputs[name], kind) for name, session in sessions.items()}
        torch.cuda.synchronize()
        samples = dict(zip(calls, _samples(list(calls.values()), seconds), strict=True))
        reference, scale = samples.pop("dense"), float(outputs["dense"].float().abs().max())
        for name, times in samples.items():
            off = float((outputs[name].float() - outputs["dense"].float()).abs().max()) / scale
            low, _, high = statistics.quantiles([d / t for d, t in zip(reference, times, strict=True)], n=4)
            middle = statistics.median(reference)
            ratio = middle / statistics.median(times)
            numbers = (x_size[0], name, ratio, high - low, middle * 1e6, off, len(times))
            found.append(MeasuredOnCuda(*label, *numbers))
    return found


def _samples(calls: Sequence[Callable[[], None]], seconds: float) -> list[list[float]]:
    """Returns seconds per run, one list for each call; each round reverses the order of the last."""

    def sample(call: Callable[[], None], count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    for call in calls:
        sample(call, 3)
    counts = [max(3, int(SAMPLE_S / sample(call, 3))) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    start = time.perf_counter()
    gc.disable()
    while time.perf_counter() - start < seconds or len(samples[0]) < LEAST_ROUNDS:
        for i in order:
            samples[i].append(sample(calls[i], counts[i]))
        order.reverse()
    gc.enable()
    return samples
