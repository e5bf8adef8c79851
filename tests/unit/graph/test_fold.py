"""Folding: constants become initializers, merged ones are told apart, numbers stay the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import pytest
from graphs import model_of
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.core.errors import InternalError
from onnxprune.graph import (
    Model,
    constants_to_initializers,
    fold_values,
    load_model,
    unshare_vectors,
)

X = {"x": np.array([[1, -2], [3, 4]], np.float32)}


def parse(text: str, opset: int = 18) -> Model:
    return load_model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}'))


def run(model: Model, feeds: Mapping[str, np.ndarray] = X) -> list[np.ndarray]:
    proto = model.to_proto()
    onnx.checker.check_model(proto)
    return ReferenceEvaluator(proto).run(None, dict(feeds))


@pytest.mark.parametrize(
    ("attribute", "want"),
    [
        ({"value": numpy_helper.from_array(np.array([[1, 2]], np.int32))}, np.array([[1, 2]], np.int32)),
        ({"value_float": 1.5}, np.array(1.5, np.float32)),
        ({"value_floats": [1.5, 2.0]}, np.array([1.5, 2], np.float32)),
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
        ({"value_string": "a"}, np.array("a", object)),
        ({"value_strings": ["a", "b"]}, np.array(["a", "b"], object)),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_constant_nodes_become_initializers_of_every_kind(attribute: dict, want: np.ndarray) -> None:
    kind = helper.np_dtype_to_tensor_dtype(want.dtype)
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], **attribute), helper.make_node("Identity", ["c"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", kind, want.shape)],
    )
    model = load_model(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]))
    assert constants_to_initializers(model) == 1
    assert [node.op for node in model.nodes] == ["Identity"]
    value = model.read("c")
    assert value.dtype == want.dtype
    assert value.shape == want.shape
    assert value.tolist() == want.tolist()
    assert run(model, {})[0].tolist() == want.tolist()


def test_a_constant_that_is_an_output_stays_a_node() -> None:
    model = parse("""net (float[2,2] x) => (float[2,2] y, float c)
    { c = Constant<value_float = 2.0>() d = Constant<value_float = 3.0>() h = Mul(x, c) y = Add(h, d) }""")
    want = run(model)
    assert constants_to_initializers(model) == 1
    assert list(model.initializers()) == ["d"]
    assert [t.name for t in model.graph.outputs] == ["y", "c"]
    for a, b in zip(run(model), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_constants_read_by_subgraphs_become_initializers_around_them() -> None:
    model = parse("""net (float[2,2] x, bool b) => (float[2,2] y)
    { c = Constant<value_float = 2.0>()
      y = If(b) < then_branch = t () => (float[2,2] p) { p = Mul(x, c) },
                  else_branch = e () => (float[2,2] q) { q = Add(x, c) } > }""")
    assert constants_to_initializers(model) == 1
    assert list(model.initializers()) == ["c"]
    for choice in (True, False):
        got = run(model, X | {"b": np.array(choice)})[0]
        np.testing.assert_array_equal(got, X["x"] * 2 if choice else X["x"] + 2)


SHARED = """net (float[2,2] x) => (float[2,2] y)
<float[2] b = {1,2}, float[2,2] w = {1,2,3,4}, int64[1] axes = {0}>
{ h = Add(x, b) i = MatMul(h, w) j = Add(i, b) k = MatMul(j, w) l = Mul(b, b) m = ReduceSum<keepdims=1>(l, axes)
  n = ReduceSum<keepdims=1>(k, axes) o = Add(n, m) y = Add(k, o) }"""


def test_every_reader_of_a_vector_gets_its_own() -> None:
    model = parse(SHARED)
    want = run(model)[0]
    assert unshare_vectors(model) == 3
    assert list(model.initializers()) == ["b", "w", "b__2", "b__3", "b__4", "axes"]
    np.testing.assert_array_equal(run(model)[0], want)
    model.replace("b__2", np.array([5, 5], np.float32))
    np.testing.assert_array_equal(model.read("b"), [1, 2])
    assert unshare_vectors(model) == 0


def test_names_that_are_taken_are_passed_over() -> None:
    model = parse(SHARED.replace("o = Add(n, m)", "b__2 = Add(n, m)").replace("Add(k, o)", "Add(k, b__2)"))
    want = run(model)[0]
    unshare_vectors(model)
    assert list(model.initializers())[2:5] == ["b__3", "b__4", "b__5"]
    np.testing.assert_array_equal(run(model)[0], want)


def test_identities_of_initializers_are_resolved() -> None:
    model = parse("""net (float[2,2] x) => (float[2,2] y, float[2] out)
    <float[2] b = {1,2}, float[2,2] w = {1,2,3,4}>
    { b2 = Identity(b) b3 = Identity(b2) w2 = Identity(w) out = Identity(b)
      h = MatMul(x, w) i = Add(h, b) j = MatMul(i, w2) k = Add(j, b2) y = Add(k, b3) }""")
    want = run(model)
    unshare_vectors(model)
    assert [node.op for node in model.nodes] == ["Identity", "MatMul", "Add", "MatMul", "Add", "Add"]
    assert sorted(model.initializers()) == ["b", "b__2", "b__3", "b__4", "w"]
    for a, b in zip(run(model), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_vector_that_a_subgraph_reads_keeps_its_name_there() -> None:
    model = parse("""net (float[2,2] x, bool c) => (float[2,2] y) <float[2] b = {1,2}>
    { h = Add(x, b)
      y = If(c) < then_branch = t () => (float[2,2] p) { p = Mul(h, b) },
                  else_branch = e () => (float[2,2] q) { q = Add(h, b) } > }""")
    assert unshare_vectors(model) == 1
    model.replace("b__2", np.zeros(2, np.float32))
    got = run(model, X | {"c": np.array(True)})[0]
    np.testing.assert_array_equal(got, X["x"] * [1, 2])


def test_known_values_are_folded_and_dead_nodes_go() -> None:
    model = parse("""net (float[2,2] x, float[1] unused) => (float[4] y, int64[2] s)
    { s = Shape(x) d = ReduceProd<keepdims=1>(s) z = Relu(x) y = Reshape(x, d) }""")
    assert fold_values(model, {"s": np.array([2, 2]), "d": np.array([4])}) == 1
    assert [node.op for node in model.nodes] == ["Shape", "Reshape"]
    assert [t.name for t in model.graph.inputs] == ["x", "unused"]
    got = run(model, X | {"unused": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(got[0], X["x"].reshape(-1))
    np.testing.assert_array_equal(got[1], [2, 2])


def test_one_of_several_outputs_is_folded_in_its_place() -> None:
    model = parse("""net (float[2,2] x) => (float[1,2] y) <float[2,2] c = {1,2,3,4}>
    { m = Mul(x, c) a, b = Split<axis=0, num_outputs=2>(m) y = Add(a, b) }""")
    assert fold_values(model, {"a": np.array([[7, 7]], np.float32)}) == 1
    assert [t.name for t in model.nodes[1].outputs] == ["a__computed", "b"]
    np.testing.assert_array_equal(run(model)[0], [[7 + 9, 7 + 16]])


def test_scalars_keep_their_rank() -> None:
    model = parse("net (float[2,2] x) => (float[2,2] y) { s = ReduceSum<keepdims=0>(x) y = Mul(x, s) }")
    fold_values(model, {"s": np.array(3, np.float32)})
    assert model.read("s").shape == ()


def test_folding_what_nobody_computes_is_our_mistake() -> None:
    with pytest.raises(InternalError, match="'nowhere'"):
        fold_values(parse(SHARED), {"nowhere": np.zeros(1)})


def test_folding_leaves_copies_alone() -> None:
    model = parse(SHARED)
    copy = model.copy()
    unshare_vectors(model)
    assert list(copy.initializers()) == ["b", "w", "axes"]
    assert len(copy.nodes) == 9


def test_scales_with_one_long_axis_are_unshared_where_they_meet_element_by_element() -> None:
    text = """g (float[N,4,6,6] x, float[4,1,1] s, float[1,4,1,1] w) => (float[N,1,6,6] y) {
        a = Mul(x, s)
        b = Relu(a)
        c = Mul(b, s)
        p = Conv(b, w)
        q = Conv(c, w)
        y = Add(p, q)
    }"""
    model = load_model(model_of(text))
    assert unshare_vectors(model) == 1
    # the weight of two convolutions stays one: it was shared on purpose
    assert sorted(model.initializers()) == ["s", "s__2", "w"]
