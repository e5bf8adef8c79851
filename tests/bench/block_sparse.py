"""Block-sparse operators against onnxruntime's dense ones: kernels and bodies, turn by turn in one process.

    python -m tests.bench.block_sparse [--json FILE] [--family matmul|conv] [--net resnet18] [--threads 1,2]
                                       [--sparsities 0.5,0.9] [--rows 32,128,512] [--blocks 16x128,1x32]
                                       [--shapes 768x3072] [--seconds S]
                                       [--provider cpu|cuda] [--elements float16,bfloat16,tf32]
    python -m tests.bench.block_sparse --print FILE

Without --family and --net all of them are measured. FILE holds what is done so far, and --print gives the tables of
docs/tiles.md from it.

MatMul: shapes K×N, M rows, MatMul + Add for the dense side. Conv: chains of four 3×3 Conv + Relu with C channels on
H×H images (shapes C×H), which onnxruntime computes in its blocked layout on the dense side. resnet18: the whole net of
`block_sparse_nets`, with its 3×3 layers of stride one sparse, also with their weights stored packed and expanded when a
session loads the model ("densify"). Weights are random, blocks of b inputs × T outputs, the same share kept in each
tile. Ratios are dense time over sparse time, above 1 is faster.

On one thread a sample is CPU time of the thread, which other load on the machine disturbs less than wall time (but
caches, clock and a core's other hardware thread are shared all the same); on more it is wall time. Inputs and outputs
are bound beforehand. A ratio is that of medians; the spread is the interquartile range of the ratios of single rounds.

`--provider cuda` measures on a device, in the elements that are named, beside cuBLAS (see `block_sparse_cuda.py`).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxprune.core.tiling import Form
from onnxprune.kernels import Activation, Window, attach, available, build, conv_node, matmul_node, register
from onnxprune.kernels.compilation import cache_path
from tests.bench.block_sparse_nets import resnet18
from tests.bench.block_sparse_table import Measured, tables

__all__ = ["main", "measure", "measure_net"]

MATMUL_SHAPES = "768x3072,3072x768,512x512,4096x4096"
CONV_SHAPES = "64x56,128x28,256x14,512x7"
MATMUL_BLOCKS = "16x128,1x32"
CONV_BLOCKS = "1x8,8x32"
CUDA_BLOCKS = "16x128,16x64"
CUDA_CONV_BLOCKS = "16x64"
CUDA_SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
CHAIN = 4
NET_SPARSITIES = [0.75]
NET_LONGER = 8.0
SAMPLE_S = 0.004
PARITY = 1e-3
LEAST_ROUNDS = 7
Weights = dict[str, NDArray[Any]]


def _tiles(inputs: int, outputs: int, block: int, width: int, sparsity: float, rng: np.random.Generator) -> Weights:
    """Returns index, weight [G, R, T], bias, and the same weight dense [K, N]."""
    blocks, tiles = inputs // block, outputs // width
    kept = max(1, round(blocks * (1 - sparsity)))
    index = np.stack([np.sort(rng.permutation(blocks)[:kept]) for _ in range(tiles)]).astype(np.int64)
    weight = (rng.standard_normal((tiles, kept * block, width)) / np.sqrt(kept * block)).astype(np.float32)
    rows = (index[:, :, None] * block + np.arange(block)).reshape(tiles, -1)
    dense = np.zeros((inputs, outputs), np.float32)
    for tile in range(tiles):
        dense[rows[tile], tile * width : (tile + 1) * width] = weight[tile]
    return {"index": index, "weight": weight, "bias": rng.standard_normal(outputs).astype(np.float32), "dense": dense}


def _model(nodes: Iterable[onnx.NodeProto], weights: Weights, shape: Sequence[int], sparse: bool) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    if sparse:
        attach(model)
    return model


def _matmul(
    shape: tuple[int, int], block: tuple[int, int], sparsity: float, rows: int, seed: int
) -> list[onnx.ModelProto]:
    """Returns the sparse and the dense model."""
    inputs, outputs = shape
    made = _tiles(inputs, outputs, *block, sparsity, np.random.default_rng(seed))
    sizes = {"block_k": block[0], "in_features": inputs, "out_features": outputs}
    sparse = matmul_node(["x", "weight", "index", "bias"], "y", **sizes)
    dense = [helper.make_node("MatMul", ["x", "dense"], ["t"]), helper.make_node("Add", ["t", "bias"], ["y"])]
    return [
        _model([sparse], {name: made[name] for name in ("weight", "index", "bias")}, (rows, inputs), True),
        _model(dense, {name: made[name] for name in ("dense", "bias")}, (rows, inputs), False),
    ]


def _conv(
    shape: tuple[int, int], block: tuple[int, int], sparsity: float, batch: int, seed: int
) -> list[onnx.ModelProto]:
    """Returns the sparse and the dense model."""
    channels, size = shape
    rng, width = np.random.default_rng(seed), block[1]
    window = Window((3, 3), (1, 1, 1, 1))
    nodes: tuple[list[onnx.NodeProto], list[onnx.NodeProto]] = ([], [])
    weights: tuple[Weights, Weights] = ({}, {})
    for layer in range(CHAIN):
        made = _tiles(channels, channels, *block, sparsity, rng)
        rows, taps = made["weight"].shape[1], rng.standard_normal((channels, channels, 3, 3)).astype(np.float32) / 3
        # [K, N] to [N, K, 3, 3]; the kept weights of a tile in the order of its index
        dense = made["dense"].T[:, :, None, None] * taps
        chosen = (made["index"][:, :, None] * block[0] + np.arange(block[0])).reshape(-1, rows)
        sparse = np.concatenate([dense[t * width : (t + 1) * width][:, chosen[t]] for t in range(len(chosen))])
        x, y = ("x" if layer == 0 else f"h{layer}"), ("y" if layer == CHAIN - 1 else f"h{layer + 1}")
        weights[0].update({f"w{layer}": sparse, f"i{layer}": made["index"], f"b{layer}": made["bias"]})
        weights[1].update({f"w{layer}": dense, f"b{layer}": made["bias"]})
        sizes = {"tiles": channels // width, "block_c": block[0], "in_channels": channels, "out_channels": channels}
        names = [x, f"w{layer}", f"i{layer}", f"b{layer}"]
        nodes[0].append(conv_node(names, y, window=window, activation=Activation("Relu"), **sizes))
        nodes[1].append(helper.make_node("Conv", [x, f"w{layer}", f"b{layer}"], [f"c{layer}"], **window.attributes()))
        nodes[1].append(helper.make_node("Relu", [f"c{layer}"], [y]))
    image = (batch, channels, size, size)
    return [_model(nodes[0], weights[0], image, True), _model(nodes[1], weights[1], image, False)]


def _call(
    model: onnx.ModelProto, x: NDArray[Any], library: Path | None, threads: int
) -> tuple[Callable[[], None], Any]:
    """Returns a run with bound tensors, and the output it gives."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if library is not None:
        register(options, strict=True, library=library)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"x": x})
    binding = session.io_binding()
    bound = ort.OrtValue.ortvalue_from_numpy(x), ort.OrtValue.ortvalue_from_numpy(output)
    binding.bind_ortvalue_input("x", bound[0])
    binding.bind_ortvalue_output("y", bound[1])
    return lambda: session.run_with_iobinding(binding), (output, bound)


def _samples(calls: Sequence[Callable[[], None]], seconds: float, threads: int) -> list[list[float]]:
    """Returns seconds per run, one list for each call; each round reverses the order of the last."""
    clock = time.thread_time if threads == 1 else time.perf_counter

    def sample(call: Callable[[], None], count: int) -> float:
        start = clock()
        for _ in range(count):
            call()
        return (clock() - start) / count

    counts = [max(1, int(SAMPLE_S / max(1e-6, sample(call, 2)))) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    start = time.thread_time() if threads == 1 else time.perf_counter()
    gc.disable()
    while clock() - start < seconds or len(samples[0]) < LEAST_ROUNDS:
        for i in order:
            samples[i].append(sample(calls[i], counts[i]))
        order.reverse()
    gc.enable()
    return samples


def measure(
    family: str,
    shape: tuple[int, int],
    block: tuple[int, int],
    sparsity: float,
    rows: int,
    *,
    threads: int,
    seconds: float,
    library: Path | None,
    seed: int = 0,
) -> list[Measured]:
    """Returns the comparisons of one layer: its kernel, where there is one, and its body.

    Args:
        family: matmul or conv.
        shape: (K, N), or (C, H).
        block: (b, T).
        sparsity: Share of the inputs that each tile gives up.
        rows: M, or the batch.
        threads: Threads within one operator.
        seconds: Seconds of measuring, about.
        library: The kernels, or None.
        seed: Seed of weights and inputs.
    """
    sparse, dense = (_matmul if family == "matmul" else _conv)(shape, block, sparsity, rows, seed)
    size = (rows, shape[0]) if family == "matmul" else (rows, shape[0], shape[1], shape[1])
    x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    made = {"dense": _call(dense, x, None, threads), "body": _call(sparse, x, None, threads)}
    if library is not None:
        made["kernel"] = _call(sparse, x, library, threads)
    sizes = {name: (sparse if name != "dense" else dense).ByteSize() for name in made}
    texts = family, f"{shape[0]}x{shape[1]}", f"{block[0]}x{block[1]}"
    return _compared(texts, sparsity, rows, made, sizes, threads, seconds)


def measure_net(
    block: tuple[int, int], sparsity: float, *, threads: int, seconds: float, library: Path | None, seed: int = 0
) -> list[Measured]:
    """Returns the comparisons of ResNet-18: with kernels, where there are some, with bodies, and with packed weights.

    Args:
        block: (b, T).
        sparsity: Share of the inputs that each tile gives up, in each 3×3 layer of stride one.
        threads: Threads within one operator.
        seconds: Seconds of measuring, about.
        library: The kernels, or None.
        seed: Seed of weights and inputs.
    """
    net = resnet18(block, sparsity, seed=seed)
    x = np.random.default_rng(seed).standard_normal(net.image).astype(np.float32)
    forms: list[Form] = ["dense", "body", "densify", *(["kernel"] if library is not None else [])]
    models = {str(form): net.written(form) for form in forms}
    made = {form: _call(model, x, library if form == "kernel" else None, threads) for form, model in models.items()}
    sizes = {form: model.ByteSize() for form, model in models.items()}
    texts = net.name, f"{net.image[1]}x{net.image[2]}", f"{block[0]}x{block[1]}"
    return _compared(texts, sparsity, net.image[0], made, sizes, threads, seconds)


def _compared(
    texts: tuple[str, str, str],
    sparsity: float,
    rows: int,
    made: dict[str, tuple[Callable[[], None], Any]],
    sizes: dict[str, int],
    threads: int,
    seconds: float,
) -> list[Measured]:
    """Returns what takes how long, over "dense"; `texts` are family, shape and block."""
    for name, (_, (output, _)) in made.items():
        if not np.abs(output - made["dense"][1][0]).max() <= PARITY * np.abs(output).max():
            raise RuntimeError(f"{name} computes something else: {' '.join(texts)}")
    samples = dict(zip(made, _samples([call for call, _ in made.values()], seconds, threads), strict=True))
    reference = samples.pop("dense")
    median, found = statistics.median(reference), []
    for name, times in samples.items():
        low, _, high = statistics.quantiles([d / t for d, t in zip(reference, times, strict=True)], n=4)
        ratio, size = median / statistics.median(times), sizes[name] / sizes["dense"]
        rest = (ratio, high - low, median * 1e6, len(times), threads, size)
        found.append(Measured(*texts, sparsity, rows, name, *rest))
    return found


def _pairs(text: str) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in (item.split("x") for item in text.split(","))]


def _environment(library: Path | None) -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip(),
        "isa": available(library).isa if library is not None else "",
        "onnxruntime": ort.__version__,
        "python": platform.python_version(),
        "provider": "CPUExecutionProvider",
        "clock": "CPU time of the thread on one thread, else wall time",
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=["matmul", "conv"], action="append", default=[])
    parser.add_argument("--net", choices=["resnet18"], action="append", default=[])
    parser.add_argument("--shapes", type=_pairs)
    parser.add_argument("--blocks", type=_pairs)
    parser.add_argument("--sparsities", type=lambda text: [float(s) for s in text.split(",")])
    parser.add_argument("--rows", type=lambda text: [int(s) for s in text.split(",")])
    parser.add_argument("--threads", type=lambda text: [int(s) for s in text.split(",")], default=[1])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--print", type=Path, metavar="FILE")
    parser.add_argument("--provider", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--elements", type=lambda text: text.split(","), default=["float16", "bfloat16", "tf32"])
    options = parser.parse_args(words)
    if options.print:
        document = json.loads(options.print.read_text(encoding="utf-8"))
        print(tables([Measured(**each) for each in document["results"]]))
        print(_said(document["environment"]))
        return 0
    if options.provider == "cuda":
        return _main_on_cuda(options)
    path = cache_path()
    library = path if path.is_file() else build()
    found: list[Measured] = []
    environment = _environment(library)
    for work in _work(options, library):
        new = work()
        found += new
        for m in new:
            text = f"{m.family} {m.shape} {m.block} {m.sparsity} {m.rows} {m.variant} on {m.threads}: {m.ratio:.2f}"
            print(text, file=sys.stderr, flush=True)
        if options.json:
            document = {"environment": environment, "results": [asdict(m) for m in found]}
            options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(tables(found))
    print(_said(environment))
    return 0


def _work(options: argparse.Namespace, library: Path) -> Iterator[Callable[[], list[Measured]]]:
    """Yields what is to be measured."""
    everything = not options.family and not options.net
    for threads in options.threads:
        limits = {"threads": threads, "seconds": options.seconds, "library": library}
        for family in options.family or (["matmul", "conv"] if everything else []):
            matmul = family == "matmul"
            shapes = options.shapes or _pairs(MATMUL_SHAPES if matmul else CONV_SHAPES)
            blocks = options.blocks or _pairs(MATMUL_BLOCKS if matmul else CONV_BLOCKS)
            sparsities = options.sparsities or ([0.5, 0.7, 0.8, 0.9] if matmul else [0.5, 0.75, 0.875])
            rows = options.rows or ([32, 128, 512] if matmul else [1])
            for block, sparsity, count, shape in itertools.product(blocks, sparsities, rows, shapes):
                yield partial(measure, family, shape, block, sparsity, count, **limits)
        if options.net or everything:
            blocks = options.blocks or _pairs(CONV_BLOCKS)
            for block, sparsity in itertools.product(blocks, options.sparsities or NET_SPARSITIES):
                yield partial(measure_net, block, sparsity, **{**limits, "seconds": NET_LONGER * options.seconds})


def _said(environment: Mapping[str, Any]) -> str:
    return "\n" + ", ".join(f"{name} {value}" for name, value in environment.items())


def _main_on_cuda(options: argparse.Namespace) -> int:
    """Measures on a device and prints a table."""
    from tests.bench import block_sparse_cuda  # PyTorch with CUDA is needed only here
    from tests.bench.gpu_session import look, pivot

    environment, found = look(), []
    for family, element in itertools.product(options.family or ["matmul", "conv"], options.elements):
        matmul = family == "matmul"
        measure_one = block_sparse_cuda.measure_matmul if matmul else block_sparse_cuda.measure_conv
        shapes = options.shapes or _pairs(MATMUL_SHAPES if matmul else CONV_SHAPES)
        blocks = options.blocks or _pairs(CUDA_BLOCKS if matmul else CUDA_CONV_BLOCKS)
        rows = options.rows or ([16, 128, 1024, 8192] if matmul else [1, 32])
        for shape, block, sparsity in itertools.product(shapes, blocks, options.sparsities or CUDA_SPARSITIES):
            found += measure_one(element, shape, block, sparsity, rows, seconds=options.seconds, bodies=True)
            print(*found[-2 * len(rows) :], sep="\n", file=sys.stderr)
    document = {"environment": environment, "results": [asdict(m) for m in found]}
    print(*pivot(document["results"], ("family", "variant", "element", "shape", "block", "rows"), "ratio"), sep="\n")
    print("\n" + ", ".join(f"{name} {value}" for name, value in environment.items()))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
