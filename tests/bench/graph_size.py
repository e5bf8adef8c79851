"""Seconds of each pass over graphs of 100, 1,000 and 10,000 nodes; prints a table.

    python tests/bench/graph_size.py [NODES...]

The graphs are chains of residual MLP blocks, of convolutions with a residual, of attention
blocks, and of concatenations (each layer reads all earlier ones, as in DenseNet), all with few
channels: what is measured grows with nodes, not with weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnxprune.core.budget import Budget
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, PassRecord
from onnxprune.passes.allocate_budget import AllocateBudget
from onnxprune.passes.certify import Certify
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.score_channels import ScoreChannels

SIZES = (100, 1_000, 10_000)
WIDTH = 8


class GraphBuilder:
    """Collects nodes and random weights."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._rng = np.random.default_rng(0)

    def weight(self, *shape: int) -> str:
        """Adds a random initializer; returns its name."""
        name = f"w{len(self.weights)}"
        scale = 0.1 / np.sqrt(shape[-1])
        self.weights.append(
            numpy_helper.from_array((self._rng.standard_normal(shape) * scale).astype(np.float32), name)
        )
        return name

    def ints(self, *values: int) -> str:
        """Adds an int64 initializer; returns its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """Adds a node; returns its output."""
        count = len(self.nodes)
        self.nodes.append(helper.make_node(op, list(inputs), [f"t{count}"], f"{op.lower()}_{count}", **attributes))
        return f"t{count}"

    def model(self, source: list[int | str], result: str) -> onnx.ModelProto:
        """Returns the model."""
        graph = helper.make_graph(
            self.nodes,
            "grown",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, [None] * len(source))],
            self.weights,
        )
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def residual(nodes: int) -> onnx.ModelProto:
    """x + W2 relu(W1 x + b), five nodes a block."""
    built, stream = GraphBuilder(), "x"
    while len(built.nodes) < nodes:
        hidden = built.add("Add", built.add("MatMul", stream, built.weight(WIDTH, WIDTH)), built.weight(WIDTH))
        back = built.add("MatMul", built.add("Relu", hidden), built.weight(WIDTH, WIDTH))
        stream = built.add("Add", stream, back)
    return built.model(["n", WIDTH], built.add("MatMul", stream, built.weight(WIDTH, 4)))


def convolution(nodes: int) -> onnx.ModelProto:
    """Conv, Relu, Conv, Add, Relu."""
    built = GraphBuilder()
    stream = built.add("Conv", "x", built.weight(WIDTH, 3, 1, 1))
    while len(built.nodes) < nodes:
        inner = built.add("Relu", built.add("Conv", stream, built.weight(WIDTH, WIDTH, 1, 1), built.weight(WIDTH)))
        back = built.add("Conv", inner, built.weight(WIDTH, WIDTH, 1, 1), built.weight(WIDTH))
        stream = built.add("Relu", built.add("Add", stream, back))
    return built.model(["n", 3, 2, 2], built.add("Conv", stream, built.weight(4, WIDTH, 1, 1)))


def attention(nodes: int) -> onnx.ModelProto:
    """Two heads of width four over a residual stream, fifteen nodes a block."""
    built, stream = GraphBuilder(), "x"
    while len(built.nodes) < nodes:
        heads = []
        for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
            flat = built.add("MatMul", stream, built.weight(WIDTH, WIDTH))
            split = built.add("Reshape", flat, built.ints(0, 0, 2, WIDTH // 2))
            heads.append(built.add("Transpose", split, perm=order))
        weights = built.add("Softmax", built.add("MatMul", heads[0], heads[1]), axis=-1)
        mixed = built.add("Transpose", built.add("MatMul", weights, heads[2]), perm=[0, 2, 1, 3])
        joined = built.add("Reshape", mixed, built.ints(0, 0, WIDTH))
        stream = built.add("Add", stream, built.add("MatMul", joined, built.weight(WIDTH, WIDTH)))
    return built.model(["n", 3, WIDTH], built.add("MatMul", stream, built.weight(WIDTH, 4)))


def dense(nodes: int) -> onnx.ModelProto:
    """Each layer adds two channels to those before it: Concat, Conv, Relu."""
    built = GraphBuilder()
    stream, width = built.add("Conv", "x", built.weight(2, 3, 1, 1)), 2
    while len(built.nodes) < nodes:
        new = built.add("Relu", built.add("Conv", stream, built.weight(2, width, 1, 1)))
        stream, width = built.add("Concat", stream, new, axis=1), width + 2
    return built.model(["n", 3, 2, 2], built.add("Conv", stream, built.weight(4, width, 1, 1)))


GRAPHS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "residual": residual,
    "convolution": convolution,
    "attention": attention,
    "dense": dense,
}


def seconds(model: onnx.ModelProto) -> dict[str, float]:
    """Returns pass → seconds, up to the certificate."""
    records: list[PassRecord] = []
    passes = [
        ImportModel(model),
        FoldConstants(),
        FindShapes(),
        FindGroups(),
        ScoreChannels(),
        AllocateBudget((Budget("flops", 0.7),)),
        PruneChannels(),
        Certify(),
    ]
    try:
        run_passes(passes, Bench(), records)
    finally:
        done = {record.name: record.seconds for record in records}
    return done


def main() -> int:
    """Prints one row per graph."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    names: list[str] = []
    for kind, grow in GRAPHS.items():
        for size in sizes:
            if kind == "dense" and size > SIZES[1] * 3:
                continue  # its weights grow with the square of its depth
            model = grow(size)
            found = seconds(model)
            if not names:
                names = list(found)
                print(f"{'graph':12} {'nodes':>6}", *(f"{name:>17}" for name in names))
            times = (f"{found[name]:15.2f} s" for name in names)
            print(f"{kind:12} {len(model.graph.node):6}", *times, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
