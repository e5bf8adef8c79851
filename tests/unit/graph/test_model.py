"""The model: initializers read, replaced and copied; broken weights found."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_graphsurgeon as gs
import pytest

from onnxprune.core.errors import InternalError, ModelError
from onnxprune.graph import Model, TensorSpec, check_finite, load_model

TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
net (float[n,2] x, int64[3,?] i) => (float[n,2] y)
<float[2,2] w = {1,2,3,4}, float[2] b = {5,6}, float[2] unread = {0,0}>
{ [mm] h = MatMul(x, w) [add] y = Add(h, b) }
"""


def parse(text: str = TEXT) -> Model:
    return load_model(onnx.parser.parse_model(text))


def test_inputs_and_outputs_are_described() -> None:
    model = parse()
    assert model.inputs() == (
        TensorSpec("x", np.dtype(np.float32), ("n", 2)),
        TensorSpec("i", np.dtype(np.int64), (3, None)),
    )
    assert model.outputs() == (TensorSpec("y", np.dtype(np.float32), ("n", 2)),)
    assert model.opset == model.opset_of("ai.onnx") == 18


def test_initializers_come_in_reading_order_without_unread_ones() -> None:
    assert list(parse().initializers()) == ["w", "b"]
    assert parse().weight_bytes() == 24


def test_what_is_read_belongs_to_the_reader() -> None:
    model = parse()
    model.read("w")[:] = 0
    np.testing.assert_array_equal(model.read("w"), [[1, 2], [3, 4]])
    model.replace("w", np.ones((2, 2), np.float32))
    model.read("w")[:] = 0
    np.testing.assert_array_equal(model.read("w"), np.ones((2, 2)))


def test_replacing_keeps_the_name_and_copies_the_array() -> None:
    model = parse()
    value = np.ones((2, 5), np.float32)[:, ::2]
    model.replace("w", value)
    value[:] = 0
    assert model.nodes[0].inputs[1].name == "w"
    np.testing.assert_array_equal(model.read("w"), np.ones((2, 3)))


def test_replacing_refuses_another_dtype_or_name() -> None:
    with pytest.raises(InternalError, match="float64"):
        parse().replace("w", np.ones((2, 2)))
    with pytest.raises(InternalError, match="'nothing'"):
        parse().replace("nothing", np.ones(1, np.float32))


def test_a_copy_is_independent_and_shares_unread_weights() -> None:
    model = parse()
    copy = model.copy()
    assert copy.initializers()["w"]._values is model.initializers()["w"]._values
    copy.replace("w", np.zeros((2, 2), np.float32))
    copy.nodes[0].name = "other"
    copy.nodes[0].attrs["note"] = 1
    copy.graph.nodes.pop()
    np.testing.assert_array_equal(model.read("w"), [[1, 2], [3, 4]])
    assert [node.name for node in model.nodes] == ["mm", "add"]
    assert not model.nodes[0].attrs


def test_copies_of_attribute_lists_are_independent() -> None:
    model = parse("""<ir_version: 8, opset_import: ["" : 18]>
    net (float[2,3] x) => (float[3,2] y) { y = Transpose<perm=[1,0]>(x) }""")
    copy = model.copy()
    copy.nodes[0].attrs["perm"].reverse()
    assert model.nodes[0].attrs["perm"] == [1, 0]


def test_read_follows_edits_of_the_graph() -> None:
    model = parse()
    model.read("b")
    model.nodes[1].inputs[1] = gs.Constant("c", np.array([9, 9], np.float32))
    np.testing.assert_array_equal(model.read("c"), [9, 9])
    with pytest.raises(InternalError, match="'b'"):
        model.read("b")
    assert [t.name for t in model.to_proto().graph.initializer] == ["w", "c"]


def test_nodes_are_in_order_whatever_the_list_says() -> None:
    model = parse()
    model.graph.nodes.reverse()
    assert [node.name for node in model.nodes] == ["mm", "add"]
    assert [node.name for node in model.to_proto().graph.node] == ["mm", "add"]


def test_new_nodes_and_changed_outputs_are_written() -> None:
    model = parse()
    y = model.graph.outputs[0]
    out = gs.Variable("out", np.float16, ["n", 2])
    model.graph.nodes.append(gs.Node("Cast", "cast", {"to": np.float16}, [y], [out]))
    model.graph.outputs = [out]
    proto = model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    assert proto.graph.node[-1].attribute[0].i == onnx.TensorProto.FLOAT16


def test_two_initializers_of_one_name_are_our_mistake() -> None:
    model = parse()
    model.nodes[1].inputs[1] = gs.Constant("w", np.array([9, 9], np.float32))
    with pytest.raises(InternalError, match="'w'"):
        model.initializers()


def broken(name: str, value: np.ndarray) -> Model:
    model = parse()
    model.replace(name, value.astype(np.float32))
    return model


def test_nan_is_found_and_counted() -> None:
    with pytest.raises(ModelError) as caught:
        check_finite(broken("b", np.array([np.nan, 1])))
    assert "'b' holds NaN in 1 of 2 values" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_infinity_is_an_error_in_a_weight_and_not_in_a_mask() -> None:
    check_finite(parse())
    check_finite(broken("b", np.array([-np.inf, 1])))
    with pytest.raises(ModelError, match="'w' holds infinity in 2 of 4"):
        check_finite(broken("w", np.array([[np.inf, 1], [-np.inf, 1]])))


def test_nan_is_found_in_half_precision() -> None:
    proto = parse().to_proto()
    value = np.array([[np.nan, 1], [1, 1]], np.float16)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(value, "w"))
    with pytest.raises(ModelError, match="'w' holds NaN"):
        check_finite(load_model(proto))


def test_many_broken_initializers_are_summed_up() -> None:
    lines = "".join(f"h{i + 1} = Add(h{i}, b{i}) " for i in range(8))
    values = ", ".join(f"float[1] b{i} = {{1}}" for i in range(8))
    model = parse(
        f'<ir_version: 8, opset_import: ["" : 18]> net (float[1] h0) => (float[1] h8) <{values}> {{ {lines} }}'
    )
    for i in range(8):
        model.replace(f"b{i}", np.array([np.nan], np.float32))
    with pytest.raises(ModelError, match="and 3 more"):
        check_finite(model)
