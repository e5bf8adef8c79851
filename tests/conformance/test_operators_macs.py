"""Every rule that counts multiply-accumulates, against counts that share nothing with it.

Linear operators count themselves: fed with ones, each product is one, and so the sum of the output
is the number of products. For all others, `recount` has the textbook formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
import recount
from node_cases import NodeCase, all_cases
from oracle import node_runner

from onnxprune.axes import Poly, size_polynomial
from onnxprune.cost import node_macs
from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes
from onnxprune.groups.infer import Inference
from onnxprune.ops import OPS, OpRule

LINEAR = {
    "::Conv", "::ConvTranspose", "::MatMul", "::Gemm", "::Einsum", "com.microsoft::FusedConv",
    "com.microsoft::FusedGemm", "com.microsoft::FusedMatMul",
}  # fmt: skip
FACTORS = 2
"""Inputs of the linear operators but Einsum; those that follow are added, not multiplied."""


@cache
def counting_operators() -> tuple[str, ...]:
    """Returns the operators with a rule that counts."""
    return tuple(sorted(n for n in OPS.names() if any(type(r).macs is not OpRule.macs for r in OPS.get(n))))


class Sizes:
    """What `OpRule.macs` asks, answered from the axes of one model."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def sizes(self, name: str) -> list[Poly]:
        """Returns the size of each axis."""
        return [Poly.constant(axis.size) for axis in self._inference.axes(name)]

    def noted(self, node: gs.Node, key: str) -> Poly:
        """Returns the size of an axis that the rule noted."""
        axis = self._inference.noted(node, key)
        return Poly.constant(1) if axis is None else size_polynomial(axis, lambda atom: Poly.constant(atom.size))

    def has_note(self, node: gs.Node, key: str) -> bool:
        """Returns whether the rule noted an axis."""
        return self._inference.noted(node, key) is not None


def by_rule(case: NodeCase, shapes: dict[str, tuple[int, ...]]) -> float:
    """Returns the count of the rule."""
    inference = Inference(load_model(case.model), ConcreteShapes(shapes, None, 1))
    node = inference.model.nodes[0]
    rule = inference.rule(node)
    assert rule is not None
    return float(rule.macs(node, Sizes(inference))({}))


def runnable(operator: str) -> Iterator[tuple[NodeCase, dict[str, tuple[int, ...]]]]:
    """Yields the cases of an operator with the shapes of all tensors."""
    for case in all_cases()[operator]:
        outputs = node_runner(case)(case.inputs)
        yield case, {name: np.shape(array) for name, array in {**case.inputs, **outputs}.items()}


def _pads_or_crops(node: onnx.NodeProto) -> bool:
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return any(options.get("pads", [])) or options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _on_ones(case: NodeCase) -> float | None:
    """Returns the sum of the outputs on ones, or None where it is not the number of products."""
    options = {a.name: onnx.helper.get_attribute_value(a) for a in case.node.attribute}
    if _pads_or_crops(case.node) or options.get("activation", b"Relu") != b"Relu" or "output_shape" in options:
        return None
    added = [] if case.operator == "::Einsum" else case.node.input[FACTORS:]
    feeds = {name: np.full_like(array, 0 if name in added else 1) for name, array in case.inputs.items()}
    outputs: dict[str, Any] = node_runner(case)(feeds)
    total = float(sum(np.sum(array, dtype=np.float64) for array in outputs.values()))
    return total / float(options.get("alpha", 1.0))


@pytest.mark.parametrize("operator", counting_operators())
def test_macs_of_the_rule_are_those_of_an_independent_count(operator):
    counted = 0
    for case, shapes in runnable(operator):
        if operator == "::Einsum" and len(case.inputs) < 2:
            assert by_rule(case, shapes) == 0, case.name
            continue
        counted += 1
        assert by_rule(case, shapes) == recount.macs_of(case.model, shapes), case.name
    assert counted


@pytest.mark.parametrize("operator", sorted(LINEAR))
def test_macs_of_linear_operators_are_the_sum_of_the_output_on_ones(operator):
    counted = 0
    for case, shapes in runnable(operator):
        products = _on_ones(case)
        if products is not None and len(case.inputs) > 1:
            counted += 1
            assert by_rule(case, shapes) == pytest.approx(products, rel=1e-6), case.name
    assert counted


@pytest.mark.parametrize("operator", counting_operators())
def test_recount_of_the_emitted_graph_knows_every_operator_that_counts(operator):
    for case, shapes in runnable(operator):
        node = load_model(case.model).nodes[0]
        assert node_macs(node, shapes) == by_rule(case, shapes), case.name
