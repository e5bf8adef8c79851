"""Local functions and branches that are always taken are laid open."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from graphs import model_of
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from pruning import analysed, disagreement, plan_of, random_plan

from onnxprune.graph import inline_branches, load_model
from onnxprune.groups import prune
from onnxprune.runtime import Runner

FUNCTIONS = """<ir_version: 8, opset_import: ["" : 18, "local" : 1]>
g (float[n, 4] x) => (float[n, 3] y)
<float[4, 6] w1 = {A}, float[6, 6] w2 = {B}, float[6, 3] w3 = {C}>
{ a = local.twice(x, w1) b = local.layer(a, w2) y = MatMul(b, w3) }
<domain: "local", opset_import: ["" : 18]> layer (v, w) => (r) { m = MatMul(v, w) r = Relu(m) }
<domain: "local", opset_import: ["" : 18, "local" : 1]> twice (v, w) => (r) { m = local.layer(v, w) r = Add(m, m) }
"""


def function_model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    text = FUNCTIONS
    for letter, count in (("A", 24), ("B", 36), ("C", 18)):
        text = text.replace(f"{{{letter}}}", "{" + ", ".join(f"{v:.4f}" for v in rng.normal(size=count)) + "}")
    return onnx.parser.parse_model(text)


X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)


def test_functions_are_replaced_by_their_bodies() -> None:
    proto = function_model()
    (want,) = ReferenceEvaluator(proto).run(None, {"x": X})
    kept, model = load_model(proto), load_model(proto, inline=True)
    assert [node.op for node in kept.nodes] == ["twice", "layer", "MatMul"]
    assert [node.op for node in model.nodes] == ["MatMul", "Relu", "Add", "MatMul", "Relu", "MatMul"]
    assert not model.header.functions
    assert list(model.initializers()) == ["w1", "w2", "w3"]
    assert model.sha256 == kept.sha256
    (found,) = Runner(model).run({"x": X})
    np.testing.assert_allclose(found["y"], want, rtol=1e-5, atol=1e-5)


def test_names_inside_a_function_do_not_meet_those_outside() -> None:
    proto = function_model()
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = {"w1": "m", "w3": "r"}.get(name, name)
    for tensor in proto.graph.initializer:
        tensor.name = {"w1": "m", "w3": "r"}.get(tensor.name, tensor.name)
    (want,) = ReferenceEvaluator(proto).run(None, {"x": X})
    (found,) = Runner(load_model(proto, inline=True)).run({"x": X})
    np.testing.assert_allclose(found["y"], want, rtol=1e-5, atol=1e-5)


def test_channels_inside_functions_are_pruned_and_certified() -> None:
    item = analysed(function_model())
    assert [(group.size, len(group.members)) for group in item.analysis.groups] == [(6, 2), (6, 2)]
    plan = plan_of(item.analysis, {group.name: (0, 3, 4) for group in item.analysis.groups})
    slim = prune(item.model, item.analysis, plan).initializers()
    assert {name: tuple(c.shape) for name, c in slim.items()} == {"w1": (4, 3), "w2": (3, 3), "w3": (3, 3)}
    assert disagreement(item, plan) < 1e-5


def branchy(condition: bool) -> onnx.ModelProto:
    """Two Ifs with the same bodies: branches compute 'q' and hold a weight 'k', names that all share.

    They give what they compute last, what they compute on the way, and the weight itself.
    """

    def branch(op: str, seed: int) -> onnx.GraphProto:
        weight = np.random.default_rng(seed).standard_normal((6, 6)).astype(np.float32)
        nodes = [helper.make_node("MatMul", ["a", "k"], ["q"], "same"), helper.make_node(op, ["q"], [f"{op}_out"])]
        names = [f"{op}_out", "q", "k"]
        out = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names]
        return helper.make_graph(nodes, op, [], out, [numpy_helper.from_array(weight, "k")])

    text = """g (float[N,4] x, float[4,6] w1, float[6,3] w2) => (float[N,3] y) {
      a = MatMul(x, w1)
      s = Add(b, way)
      m = MatMul(s, weight)
      t = Add(m, b2)
      u = Add(t, way2)
      y = MatMul(u, w2)
    }"""
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>' + text)
    rng = np.random.default_rng(0)
    for value in list(proto.graph.input)[1:]:
        array = rng.standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim]).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
        proto.graph.input.remove(value)
    bodies = {"then_branch": branch("Relu", 1), "else_branch": branch("Tanh", 2)}
    for end in ("", "2"):
        outputs = [f"{name}{end}" for name in ("b", "way", "weight")]
        proto.graph.node.insert(1, helper.make_node("If", ["c"], outputs, f"choice{end}", **bodies))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(condition), "c"))
    return proto


@pytest.mark.parametrize("condition", [True, False])
def test_a_decided_branch_replaces_the_if(condition: bool) -> None:
    proto = branchy(condition)
    (want,) = Runner(load_model(proto)).run({"x": X})
    model = load_model(proto)
    assert inline_branches(model) == ["choice2", "choice"]
    ops = [node.op for node in model.nodes]
    assert ("Relu" in ops, "Tanh" in ops, "If" in ops) == (condition, not condition, False)
    onnx.checker.check_model(model.to_proto())
    (found,) = Runner(model).run({"x": X})
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


def test_a_weight_in_a_taken_branch_is_pruned() -> None:
    item = analysed(branchy(True))
    assert any(m.initializer == "k__2" for group in item.analysis.groups for m in group.members)
    assert disagreement(item, random_plan(item.analysis)) < 1e-5


def test_nested_branches_are_opened_from_the_outside() -> None:
    inner = """h () => (float[N,6] t) { u = Relu(a) t = If<
        then_branch = p () => (float[N,6] v) { v = Add(u, a) },
        else_branch = r () => (float[N,6] v2) { v2 = Neg(u) }>(d) }"""
    text = f"""g (float[N,4] x, float[4,6] w1, float[6,3] w2) => (float[N,3] y) {{
      c = Constant<value = bool {{1}}>()
      d = Constant<value = bool {{0}}>()
      a = MatMul(x, w1)
      b = If<then_branch = {inner}, else_branch = o () => (float[N,6] z) {{ z = Abs(a) }}>(c)
      y = MatMul(b, w2)
    }}"""
    proto = model_of(text)
    item = analysed(proto)
    assert [node.op for node in item.model.nodes] == ["MatMul", "Relu", "Neg", "MatMul"]
    (want,), (found,) = Runner(load_model(proto)).run({"x": X}), Runner(item.model).run({"x": X})
    np.testing.assert_allclose(found["y"], want["y"], rtol=1e-5, atol=1e-5)
    assert len(item.analysis.groups) == 1


def test_an_undecided_if_stays_and_freezes_what_its_bodies_read() -> None:
    text = """g (float[N,4] x, bool c, float[4,6] w1, float[6,3] w2) => (float[N,3] y) {
      a = MatMul(x, w1)
      b = If<then_branch = t () => (float[N,6] u) { u = Relu(a) },
             else_branch = e () => (float[N,6] v) { v = Neg(a) }>(c)
      y = MatMul(b, w2)
    }"""
    item = analysed(model_of(text, data=("x", "c")))
    assert "If" in [node.op for node in item.model.nodes]
    assert not item.analysis.groups
    assert "If 'if_1'" in item.reasons("matmul_0")


SHAPED = """g (float[N,4] x, float[4,6] w1, float[6,3] w2) => (float[N,3] y) {{
  a = MatMul(x, w1)
  s = Shape(a)
  i = Constant<value_int={index}>()
  n = Gather(s, i)
  k = Constant<value_int={value}>()
  c = Equal(n, k)
  b = If<then_branch = t () => (float[N,6] u) {{ u = Relu(a) }},
         else_branch = e () => (float[N,6] v) {{ v = Neg(a) }}>(c)
  y = MatMul(b, w2)
}}"""


def test_a_condition_on_a_static_size_is_decided_by_the_concrete_runs() -> None:
    item = analysed(model_of(SHAPED.format(index=1, value=6)))
    assert [node.op for node in item.model.nodes] == ["MatMul", "Relu", "MatMul"]
    assert len(item.analysis.groups) == 1


def test_a_condition_on_the_batch_size_is_not_decided_though_equal_in_both_runs() -> None:
    item = analysed(model_of(SHAPED.format(index=0, value=1)))
    assert "If" in [node.op for node in item.model.nodes]
    assert not item.analysis.groups
