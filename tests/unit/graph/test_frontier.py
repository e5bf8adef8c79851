"""The constant frontier: what is folded, what is left alone, and that numbers agree."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.graph import (
    Model,
    constant_frontier,
    constant_tensors,
    constants_to_initializers,
    fold_values,
    load_model,
    shape_derived,
)


def parse(text: str) -> Model:
    model = load_model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18, "mine" : 1]>\n{text}'))
    constants_to_initializers(model)
    return model


def fold(model: Model) -> int:
    proto = constant_frontier(model)
    if proto is None:
        return 0
    onnx.checker.check_model(proto, full_check=True)
    assert not proto.graph.input
    names = [info.name for info in proto.graph.output]
    assert tuple(names) == constant_tensors(model)
    return fold_values(model, dict(zip(names, ReferenceEvaluator(proto).run(None, {}), strict=True)))


def test_a_chain_of_constants_is_folded() -> None:
    model = parse("""net (float[2,3] x) => (float[2,2] y)
    <float[2,3] w = {1,2,3,4,5,6}, float[1] g = {2}>
    { c = Constant<value_float = 0.5>() v = Mul(w, g) u = Mul(v, c) t = Transpose<perm=[1,0]>(u)
      h = Relu(x) y = MatMul(h, t) }""")
    feeds = {"x": np.array([[1, -1, 2], [0, 1, 1]], np.float32)}
    want = ReferenceEvaluator(model.to_proto()).run(None, feeds)[0]
    assert constant_tensors(model) == ("t",)
    assert fold(model) == 1
    assert [node.op for node in model.nodes] == ["Relu", "MatMul"]
    assert list(model.initializers()) == ["t"]
    np.testing.assert_array_equal(ReferenceEvaluator(model.to_proto()).run(None, feeds)[0], want)
    assert constant_frontier(model) is None


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ("k = RandomNormalLike(w)", "random"),
        ("k = mine.Odd(w)", "unknown"),
        ("k = Relu(x)", "depends on data"),
        ("t = Transpose(w) k0 = MatMul(x, w) k = Add(k0, t)", "the weight is tied"),
        (
            "n = Constant<value_ints = [600, 600]>() e = Expand(one, n) s = ReduceMax<keepdims=0>(e) k = Add(x, s)",
            "large",
        ),
        (
            "n = Constant<value_ints = [600, 600]>() e = ConstantOfShape(n) s = ReduceMax<keepdims=0>(e) k = Add(x, s)",
            "large",
        ),
    ],
    ids=lambda v: "" if "=" in v else v,
)
def test_some_things_are_left_alone(nodes: str, why: str) -> None:
    model = parse(f"""net (float[2,2] x) => (float[2,2] y)
    <float[2,2] w = {{1,2,3,4}}, float[1] one = {{1}}> {{ {nodes} y = Add(x, k) }}""")
    before = len(model.nodes)
    assert constant_tensors(model) == ()
    assert fold(model) == 0
    assert len(model.nodes) == before


def test_dequantization_is_left_alone() -> None:
    model = parse("""net (float[2,2] x) => (float[2,2] y) <int8[2,2] q = {1,2,3,4}, float s = {0.5}, int8 z = {0}>
    { w = DequantizeLinear(q, s, z) t = Transpose(w) y = MatMul(x, t) }""")
    assert constant_tensors(model) == ()


def test_a_constant_output_keeps_its_computation() -> None:
    model = parse("""net (float[2] x) => (float[2] y, float[2] k) <float[2] a = {1,2}>
    { k = Add(a, a) m = Mul(k, k) y = Add(x, m) }""")
    assert constant_tensors(model) == ("m",)
    assert fold(model) == 1
    assert [node.outputs[0].name for node in model.nodes] == ["k", "y"]


def test_what_a_subgraph_reads_is_folded() -> None:
    model = parse("""net (float[2] x, bool b) => (float[2] y) <float[2] a = {1,2}>
    { k = Add(a, a)
      y = If(b) < then_branch = t () => (float[2] p) { p = Mul(x, k) },
                  else_branch = e () => (float[2] q) { q = Add(x, k) } > }""")
    assert fold(model) == 1
    feeds = {"x": np.array([1, 2], np.float32), "b": np.array(True)}
    np.testing.assert_array_equal(ReferenceEvaluator(model.to_proto()).run(None, feeds)[0], [2, 8])


def test_a_large_weight_folds_when_the_result_is_no_larger() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
    net (float[n,600] x) => (float[n,500] y) <float[500,600] w> { t = Transpose(w) y = MatMul(x, t) }""")
    weight = np.random.default_rng(0).normal(size=(500, 600)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    model = load_model(proto)
    assert fold(model) == 1
    np.testing.assert_array_equal(model.read("t"), weight.T)


def test_shape_derived_names_only_what_shapes_decide() -> None:
    model = parse("""net (float[n,2] x) => (float[n,2] y, float[2,2] z) <float[2,2] w = {1,2,3,4}>
    { s = Shape(x) i = Constant<value_int = 1>() d = Gather(s, i) f = Cast<to=1>(d) r = Sqrt(f) t = Transpose(w)
      m = MatMul(x, t) h = Div(m, r) g = mine.Odd(s) n = Cast<to=1>(g) z = Transpose(t) u = RandomUniformLike(f)
      j = Add(h, n) y = Add(j, u) }""")
    assert shape_derived(model) == ["s", "d", "f", "r"]
