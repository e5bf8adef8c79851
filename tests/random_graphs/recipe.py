"""From a seed to a list of steps, and from steps to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from random_graphs.attention import ATTENTION
from random_graphs.builder import Builder, Map
from random_graphs.convolutions import CONVOLUTIONS, convolve
from random_graphs.maps import MAPS
from random_graphs.norms import NORMS
from random_graphs.sequences import SEQUENCES, linear

__all__ = ["Recipe", "build", "draw", "random_model", "step_names"]

Steps = Mapping[str, Callable[[Builder], None]]
Output = tuple[str, list[int | str]]
IMAGE: Steps = CONVOLUTIONS | MAPS | NORMS
SEQUENCE: Steps = SEQUENCES | ATTENTION
FREQUENT = {"conv": 3, "activation": 2, "residual": 2, "separate": 2, "packed": 2, "linear": 2}
SIZES = {"signal": (9,), "image": (8, 8), "volume": (4, 4, 4)}
KINDS = ("image", "image", "image", "sequence", "sequence", "tokens", "signal", "volume")
VOCABULARY = 11


@dataclass(frozen=True)
class Recipe:
    """All that decides a model.

    Attributes:
        seed: Draws the weights of the stem and the heads.
        kind: "image", "signal", "volume": maps of 2, 1, 3 dimensions; "sequence": [N, T, C];
            "tokens": the same from integers through an embedding that the head reads transposed.
        opset: Version of the default operator set.
        old: Whether shapes are computed at run time, as the old exporter writes them.
        dynamic: Whether the length of a sequence is dynamic.
        steps: Name and seed of each step.
    """

    seed: int
    kind: str
    opset: int
    old: bool
    dynamic: bool
    steps: tuple[tuple[str, int], ...]


def step_names(kind: str) -> tuple[str, ...]:
    """Returns the names of the steps that models of a kind are made of."""
    return tuple(IMAGE if kind in SIZES else SEQUENCE)


def draw(seed: int, steps: int = 10) -> Recipe:
    """Returns the recipe of a seed: up to `steps` steps."""
    rng = np.random.default_rng(seed)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    names = [name for name in step_names(kind) for _ in range(FREQUENT.get(name, 1))]
    count = int(rng.integers(2, steps + 1))
    chosen = tuple((names[int(rng.integers(len(names)))], int(rng.integers(2**31))) for _ in range(count))
    opset = int(rng.choice([18, 20, 23]))
    return Recipe(seed, kind, opset, bool(rng.random() < 0.3), bool(rng.random() < 0.4), chosen)


def random_model(seed: int) -> onnx.ModelProto:
    """Returns the model of a seed."""
    return build(draw(seed))


def build(recipe: Recipe) -> onnx.ModelProto:
    """Returns the model of a recipe, checked, with the shapes that ONNX infers."""
    b = Builder(recipe.opset, old=recipe.old)
    image = recipe.kind in SIZES
    b.rng = np.random.default_rng([recipe.seed, 0])
    stem = _stem_of_maps if image else _stem_of_sequences
    table = stem(b, recipe)
    for name, seed in recipe.steps:
        b.rng = np.random.default_rng(seed)
        (IMAGE if image else SEQUENCE)[name](b)
    b.rng = np.random.default_rng([recipe.seed, 1])
    outputs = _heads_of_maps(b) if image else _heads_of_sequences(b, table)
    return _finished(b, recipe, outputs)


def _stem_of_maps(b: Builder, recipe: Recipe) -> str | None:
    source = Map(b.input("x", ["N", 3, *SIZES[recipe.kind]]), 3, SIZES[recipe.kind])
    b.put(convolve(b, source, 8, 3), 8, source.sizes)
    return None


def _stem_of_sequences(b: Builder, recipe: Recipe) -> str | None:
    """Returns the embedding, where there is one."""
    length = None if recipe.dynamic else 5
    axis = "T" if recipe.dynamic else 5
    if recipe.kind == "tokens":
        ids = b.input("ids", ["N", axis], TensorProto.INT64)
        table = b.kernel(VOCABULARY, 12, fan=3)
        b.put(b.add("Gather", table, ids, axis=0), 12, length)
        return table
    x = b.input("x", ["N", axis, 6])
    b.put(x, 6, length)
    b.put(linear(b, b.items.pop(), 12), 12, length)
    return None


def _heads_of_maps(b: Builder) -> list[Output]:
    last = b.items[-1]
    features = last.channels
    if b.chance(0.5):
        flat = b.add("Flatten", b.add("GlobalAveragePool", last.name))
    else:
        features = 4 * int(np.prod(last.sizes))
        small = convolve(b, last, 4)
        flat = b.add("Flatten", small) if b.chance(0.5) else b.add("Reshape", small, b.integers(-1, features))
    hidden = b.add("Tanh", b.add("Gemm", flat, b.kernel(10, features), b.vector(10), transB=1))
    outputs: list[Output] = [(b.add("Gemm", hidden, b.kernel(10, 3, fan=10), b.vector(3)), ["N", 3])]
    if b.chance(0.4):
        extra = b.pick()
        outputs.append((convolve(b, extra, 2), ["N", 2, *extra.sizes]))
    return outputs


def _heads_of_sequences(b: Builder, table: str | None) -> list[Output]:
    last = b.items[-1]
    length = "T" if last.length is None else last.length
    if table is not None:
        narrow = linear(b, last, 12)
        return [(b.add("MatMul", narrow, b.add("Transpose", table, perm=[1, 0])), ["N", length, VOCABULARY])]
    outputs: list[Output] = [(linear(b, last, 3), ["N", length, 3])]
    if b.chance(0.4):
        pooled = b.add("Squeeze", b.statistics(last.name, "ReduceMean", 1), b.integers(1))
        outputs.append((b.add("Gemm", pooled, b.kernel(last.channels, 2, fan=last.channels)), ["N", 2]))
    return outputs


def _finished(b: Builder, recipe: Recipe, outputs: list[Output]) -> onnx.ModelProto:
    graph = helper.make_graph(
        b.nodes,
        f"random_{recipe.seed}",
        b.inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        b.weights,
    )
    version = 8 if recipe.opset < 20 else 10
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", recipe.opset)], ir_version=version)
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(inferred)
    return inferred
