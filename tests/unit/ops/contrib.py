"""Models with operators of onnxruntime's own domain, and checks that every operator test makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
from bridging import answers, gap
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from pruning import Analysed, analysed, disagreement, random_plan

from onnxprune.bridge import predict, to_torch

TOLERANCE = 1e-5
HEAD = '<ir_version: {ir}, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'


def contrib_model(
    text: str,
    data: Sequence[str] = ("x",),
    *,
    opset: int = 18,
    values: Mapping[str, NDArray[Any]] | None = None,
    seed: int = 0,
) -> onnx.ModelProto:
    """Returns the model of a graph in ONNX text; `com.microsoft.Gelu(x)` names an operator of that domain.

    Args:
        text: `name (inputs) => (outputs) { nodes }`.
        data: Names of the inputs that stay inputs.
        opset: Version of the default operator set.
        values: Initializers; the other inputs become random float32 ones.
        seed: Seed of those.
    """
    model = onnx.parser.parse_model(HEAD.format(opset=opset, ir=8 if opset < 21 else 10) + text)
    rng = np.random.default_rng(seed)
    for value in [v for v in model.graph.input if v.name not in data]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        fan = max(1, int(np.prod(shape[1:])))
        drawn = rng.uniform(-1, 1, shape) * np.sqrt(3 / fan) if len(shape) > 1 else rng.uniform(0.3, 1.3, shape)
        array = (values or {}).get(value.name, drawn.astype(np.float32))
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{index}"
    return model


def sizes(item: Analysed) -> list[int]:
    """Returns the sizes of all groups, sorted."""
    return sorted(g.size for g in item.analysis.groups)


def assert_certified(proto: onnx.ModelProto, *, approximate: bool = False) -> Analysed:
    """Asserts that masked and pruned models agree for several random plans; returns the analysis."""
    item = analysed(proto, approximate=approximate)
    assert item.analysis.groups
    for seed in range(3):
        found = disagreement(item, random_plan(item.analysis, seed, share=0.5), seed=seed)
        assert found < TOLERANCE, f"seed {seed}: {found}"
    return item


def assert_counterpart(proto: onnx.ModelProto, tolerance: float = TOLERANCE, seed: int = 0) -> None:
    """Asserts that the PyTorch counterpart gives onnxruntime's outputs on a random batch of two."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value or 2 for dim in kind.shape.dim]
        if kind.elem_type == onnx.TensorProto.FLOAT:
            feeds[value.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            feeds[value.name] = rng.integers(0, 2, shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    found = predict(to_torch(proto), feeds)
    for name, reference in answers(proto, feeds).items():
        assert gap(found[name], reference) < tolerance, name
