"""Nodes that onnxruntime cannot run."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

from onnxprune.runtime import support
from onnxprune.runtime.support import can_run, find_unrunnable


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


@pytest.mark.parametrize(
    ("op", "domain", "opset", "expected"),
    [
        ("Conv", "", 9, True),
        ("Conv", "ai.onnx", 9, True),
        ("Conv", "acme", 1, False),
        ("LayerNormalization", "", 17, True),
        ("Nonsense", "", 17, False),
        ("Upsample", "", 9, True),
        ("Upsample", "", 10, False),
        ("FusedMatMul", "com.microsoft", 1, True),
    ],
)
def test_can_run_follows_the_versions_of_an_operator(op: str, domain: str, opset: int, expected: bool) -> None:
    assert can_run(op, domain, opset) is expected


def test_custom_operator_is_found_with_its_place() -> None:
    model = parse(
        '<ir_version: 8, opset_import: ["" : 18, "acme" : 1]> g (float[n, 4] x) => (float[n, 4] y)'
        "{ a = Relu(x) b = acme.Mystery(a) y = Relu(b) }"
    )
    model.graph.node[1].name = "odd"
    (found,) = find_unrunnable(model)
    assert (found.index, found.name, found.op_type, found.domain) == (1, "odd", "Mystery", "acme")
    assert "no operator acme::Mystery" in found.reason


def test_model_that_runs_has_none() -> None:
    model = parse(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n, 3, 8, 8] x, float[4, 3, 3, 3] w) => (float[n, 4] y)'
        "{ a = Conv<pads=[1,1,1,1]>(x, w) b = GlobalAveragePool(a) y = Flatten(b) }"
    )
    assert find_unrunnable(model) == ()


def test_missing_kernel_is_found_by_type() -> None:
    model = parse(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n] x) => (float[n] y)'
        "{ a = Cast<to = 16>(x) b = Relu(a) c = Cast<to = 1>(b) y = Relu(c) }"
    )
    (found,) = find_unrunnable(model)
    assert found.index == 2 - 1
    assert "no CPU kernel for Relu on bfloat16" in found.reason


def test_unknown_operator_in_a_branch_marks_the_whole_node() -> None:
    model = parse(
        '<ir_version: 8, opset_import: ["" : 18, "acme" : 1]> g (bool c, float[2] x) => (float[2] y) {'
        " y = If (c) <then_branch = t () => (float[2] p) { p = acme.Mystery(x) },"
        " else_branch = e () => (float[2] q) { q = Relu(x) }> }"
    )
    (found,) = find_unrunnable(model)
    assert (found.index, found.op_type) == (0, "If")
    assert "acme::Mystery" in found.reason


def test_model_local_function_runs_when_its_body_does() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18, "local" : 1]> g (float[2] x) => (float[2] y) {{ y = local.f(x) }}
    <domain: "local", opset_import: ["" : 18, "acme" : 1]> f (a) => (b) {{ b = {body}(a) }}"""
    assert find_unrunnable(parse(text.format(body="Relu"))) == ()
    (found,) = find_unrunnable(parse(text.format(body="acme.Mystery")))
    assert "acme::Mystery" in found.reason


def test_what_was_tried_for_one_model_is_known_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def without_kernel(node: onnx.NodeProto, *_: object) -> str:
        tried.append(node.op_type)
        return "there is none" if node.op_type == "Sinh" else ""

    monkeypatch.setattr(support, "_TRIED", {})
    monkeypatch.setattr(support, "_without_kernel", without_kernel)
    text = (
        '<ir_version: 8, opset_import: ["" : {opset}]> g ({kind}[n] {x}) => ({kind}[n] y)'
        "{{ a = Sinh({x}) y = Cosh(a) }}"
    )
    for x in ("x", "z"):
        assert [one.index for one in find_unrunnable(parse(text.format(opset=18, kind="float", x=x)))] == [0]
    assert tried == ["Sinh", "Cosh"]
    find_unrunnable(parse(text.format(opset=18, kind="double", x="x")))
    find_unrunnable(parse(text.format(opset=17, kind="float", x="x")))
    assert tried == ["Sinh", "Cosh"] * 3


def test_a_type_that_a_tensor_gives_tells_nodes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "_TRIED", {})
    monkeypatch.setattr(support, "_without_kernel", lambda node, *_: str(node.attribute[0].t.data_type))
    text = '<ir_version: 8, opset_import: ["" : 18]> g (int64[1] s) => (float[n] y, double[n] z)'
    nodes = "{ y = ConstantOfShape<value = float[1] {0}>(s) z = ConstantOfShape<value = double[1] {0}>(s) }"
    assert [one.reason for one in find_unrunnable(parse(text + nodes))] == ["1", "11"]
