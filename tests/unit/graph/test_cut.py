"""Cutting a graph at nodes that cannot be run."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from onnxprune.core.errors import InternalError
from onnxprune.graph import Model, TensorSpec, cut_at, load_model

TEXT = """
<ir_version: 8, opset_import: ["" : 18, "mine" : 1]>
net (float[n,2] x) => (float[n,2] y, float[n,2] z)
<float[2] b = {{1,2}} {info}>
{{
  [before] h = Add(x, b)
  [odd] o = mine.Odd(h, b)
  [after] y = Mul(o, h)
  [last] z = Relu(y)
}}
"""
X = np.array([[1, -2], [3, 4]], np.float32)
B = np.array([1, 2], np.float32)


def parse(info: str = ", float[n,2] o") -> Model:
    return load_model(onnx.parser.parse_model(TEXT.format(info=info)))


@pytest.mark.parametrize("how", ["names", "nodes", "predicate"])
def test_a_node_is_cut_out(how: str) -> None:
    model = parse()
    chosen = {"names": ["odd"], "nodes": [model.nodes[1]], "predicate": lambda node: node.domain == "mine"}[how]
    cut = cut_at(model, chosen)
    spec = (np.dtype(np.float32), ("n", 2))
    assert cut.inputs == (TensorSpec("o", *spec),)
    assert [t.name for t in cut.outputs] == ["h"]
    assert cut.dropped_nodes == ()
    assert cut.dropped_outputs == ()
    assert [t.name for t in cut.model.inputs()] == ["x", "o"]
    assert [t.name for t in cut.model.outputs()] == ["y", "z", "h"]
    o = np.full((2, 2), 2, np.float32)
    got = ReferenceEvaluator(cut.model.to_proto()).run(None, {"x": X, "o": o})
    np.testing.assert_array_equal(got[0], (X + B) * 2)
    np.testing.assert_array_equal(got[2], X + B)
    assert len(model.nodes) == 4
    assert [t.name for t in model.outputs()] == ["y", "z"]


@pytest.mark.parametrize("info", ["", ", float o"])
def test_what_depends_on_an_unknown_type_is_dropped(info: str) -> None:
    model = parse(info)
    if info:
        model.graph.nodes[1].outputs[0].shape = None
    cut = cut_at(model, ["odd"])
    assert cut.inputs == ()
    assert [t.name for t in cut.outputs] == ["h"]
    assert cut.dropped_nodes == ("after", "last")
    assert cut.dropped_outputs == ("y", "z")
    np.testing.assert_array_equal(ReferenceEvaluator(cut.model.to_proto()).run(None, {"x": X})[0], X + B)


def test_a_cut_node_that_gives_an_output_takes_it_along() -> None:
    cut = cut_at(parse(), ["last"])
    assert cut.dropped_outputs == ("z",)
    assert cut.inputs == ()
    assert cut.outputs == ()
    assert [t.name for t in cut.model.outputs()] == ["y"]


def test_neighbouring_cuts_need_no_link() -> None:
    cut = cut_at(parse(), ["odd", "after"])
    assert [t.name for t in cut.inputs] == ["y"]
    assert [t.name for t in cut.outputs] == ["h"]
    assert cut.dropped_outputs == ("y",)


def test_subgraphs_read_cut_tensors_and_are_cut() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 18, "mine" : 1]>
    net (float[2] x, bool c) => (float[2] y) <float[2] o>
    { h = Relu(x) [odd] o = mine.Odd(h)
      [if] y = If(c) < then_branch = t () => (float[2] p) { p = Mul(h, o) },
                       else_branch = e () => (float[2] q) { q = Add(h, o) } > }
    """
    model = load_model(onnx.parser.parse_model(text))
    cut = cut_at(model, ["odd"])
    assert [t.name for t in cut.inputs] == ["o"]
    x, o = np.array([1, 2], np.float32), np.array([5, 6], np.float32)
    got = ReferenceEvaluator(cut.model.to_proto()).run(None, {"x": x, "o": o, "c": np.array(True)})
    np.testing.assert_array_equal(got[0], x * o)
    both = cut_at(model, ["odd", "if"])
    assert [t.name for t in both.outputs] == ["h"]
    assert both.dropped_outputs == ("y",)


def test_cutting_elsewhere_is_our_mistake() -> None:
    with pytest.raises(InternalError, match="nowhere"):
        cut_at(parse(), ["nowhere"])
    with pytest.raises(InternalError, match="foreign"):
        cut_at(parse(), [parse().nodes[0]])
