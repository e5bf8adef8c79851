"""Tiled layers of a model as block-sparse operators: what is replaced, what is not, and that nothing changes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import pytest
from graphs import model_of
from onnx import TensorProto, helper, numpy_helper

from onnxprune.core.tiling import TiledLayer
from onnxprune.graph import load_model
from onnxprune.kernels.rewrite import form_obstacle, write_forms
from onnxprune.runtime import make_session, run, stand_in

CONV = "g (float[N, 8, 6, 7] x, float[12, 8, 3, 3] w, float[12] b) => (float[N, C, H, W] y) {{ {nodes} }}"
DENSE = "g (float[N, 5, 8] x, float[{shape}] w, float[{bias}] b) => (float[N, 5, 12] y) {{ {nodes} }}"
FLAT = "g (float[N, 8] x, float[{shape}] w, float[{bias}] b) => (float[N, 12] y) {{ {nodes} }}"


def _layer(node, operator, input_axis, *, block=2, tile=4, seed=0):
    rng = np.random.default_rng(seed)
    kept = tuple(tuple(sorted(int(i) for i in rng.choice(8 // block, 2, replace=False))) for _ in range(12 // tile))
    return TiledLayer(node, "w", operator, input_axis, 8, 12, block, tile, kept)


def _emptied(text, layer, opset=18):
    """The model with zeros outside of the tiles."""
    model = model_of(text, opset=opset)
    for tensor in model.graph.initializer:
        if tensor.name == layer.weight:
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.where(layer.weight_mask(), value, np.float32(0)), tensor.name))
    return model


def _check(model, layer, operators):
    assert form_obstacle(model, layer, "kernel") == ""
    packed = write_forms(model, [(layer, "kernel")])
    assert [node.op_type for node in packed.graph.node] == operators
    assert layer.weight not in {tensor.name for tensor in packed.graph.initializer}
    onnx.checker.check_model(packed)
    shape = [dim.dim_value or 2 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    expected = run(make_session(model, threads=1), feeds)["y"]
    for kernels in (True, False):
        found = run(make_session(packed, threads=1, kernels=kernels), feeds)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "operators"),
    [
        ("y = Conv(x, w)", ["BlockSparseConv"]),
        ("y = Conv<pads=[0, 1, 2, 1], strides=[2, 1], dilations=[1, 2]>(x, w, b)", ["BlockSparseConv"]),
        ('y = Conv<auto_pad="VALID", kernel_shape=[3, 3]>(x, w, b)', ["BlockSparseConv"]),
        ("h = Conv(x, w, b) y = Relu(h)", ["BlockSparseConvRelu"]),
        ("h = Conv(x, w, b) y = LeakyRelu(h)", ["BlockSparseConvLeakyRelu"]),
        ("h = Conv(x, w, b) y = HardSigmoid<alpha=0.3>(h)", ["BlockSparseConvHardSigmoid"]),
        ("h = Conv(x, w, b) y = Softplus(h)", ["BlockSparseConv", "Softplus"]),
        ("h = Conv(x, w, b) r = Relu(h) y = Add(h, r)", ["BlockSparseConv", "Relu", "Add"]),
    ],
)
def test_convolutions_are_replaced_with_what_only_follows_them(nodes, operators):
    layer = _layer("conv_0", "Conv", 1)
    _check(_emptied(CONV.format(nodes=nodes), layer), layer, operators)


@pytest.mark.parametrize(
    ("text", "shape", "bias", "nodes", "input_axis", "operators"),
    [
        (DENSE, "8, 12", "12", "y = MatMul(x, w)", 0, ["BlockSparseMatMul"]),
        (DENSE, "8, 12", "12", "h = MatMul(x, w) y = Add(b, h)", 0, ["BlockSparseMatMul"]),
        (DENSE, "8, 12", "1, 12", "h = MatMul(x, w) a = Add(h, b) y = Tanh(a)", 0, ["BlockSparseMatMulTanh"]),
        (DENSE, "8, 12", "5, 1", "h = MatMul(x, w) y = Add(h, b)", 0, ["BlockSparseMatMul", "Add"]),
        (FLAT, "12, 8", "12", "y = Gemm<transB=1>(x, w, b)", 1, ["BlockSparseMatMul"]),
        (FLAT, "8, 12", "1", "h = Gemm(x, w, b) y = HardSwish(h)", 0, ["BlockSparseMatMulHardSwish"]),
        (FLAT, "8, 12", "12", "y = Gemm(x, w)", 0, ["BlockSparseMatMul"]),
    ],
)
def test_matrix_products_are_replaced_with_what_only_follows_them(text, shape, bias, nodes, input_axis, operators):
    layer = _layer("gemm_0" if "Gemm" in nodes else "matmul_0", "MatMul", input_axis)
    _check(_emptied(text.format(shape=shape, bias=bias, nodes=nodes), layer), layer, operators)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_that_follows_from_the_kernel_is_written_out(auto_pad):
    layer = _layer("conv_0", "Conv", 1)
    text = CONV.format(nodes=f'y = Conv<auto_pad="{auto_pad}">(x, w, b)').replace("8, 3, 3] w", "8, 4, 2] w")
    _check(_emptied(text, layer), layer, ["BlockSparseConv"])


def test_bounds_of_a_clip_come_from_constants():
    layer = _layer("conv_0", "Conv", 1)
    nodes = "h = Conv(x, w, b) y = Clip(h, low)"
    text = CONV.format(nodes=nodes).replace("float[12] b)", "float[12] b, float low)")
    model = _emptied(text, layer)
    _check(model, layer, ["BlockSparseConvClip"])


def test_names_that_are_taken_stay_free_of_packed_weights():
    layer = _layer("conv_0", "Conv", 1)
    nodes = "w_tiles = Conv(x, w, b) w_index = Softplus(w_tiles) y = Sigmoid(w_index)"
    _check(_emptied(CONV.format(nodes=nodes), layer), layer, ["BlockSparseConv", "Softplus", "Sigmoid"])


def test_newer_activations_are_known():
    layer = _layer("conv_0", "Conv", 1)
    nodes = 'h = Conv(x, w, b) y = Gelu<approximate="tanh">(h)'
    _check(_emptied(CONV.format(nodes=nodes), layer, opset=20), layer, ["BlockSparseConvGeluTanh"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"opset": 12}, "has opset 12"),
        ({"text": FLAT.format(shape="8, 12", bias="1", nodes="c = Relu(b) y = Gemm(x, w, c)")}, "its bias is computed"),
    ],
    ids=["opset", "bias"],
)
def test_what_the_operators_cannot_say_is_no_operator(change, why):
    layer = _layer("gemm_1" if "text" in change else "gemm_0", "MatMul", 0)
    text = change.get("text", FLAT.format(shape="8, 12", bias="12", nodes="y = Gemm(x, w, b)"))
    assert why in form_obstacle(model_of(text, opset=change.get("opset", 18)), layer, "kernel")


@pytest.mark.parametrize(
    ("text", "node", "operator", "axis", "operators"),
    [
        (CONV.format(nodes="h = Conv(x, w, b) y = Relu(h)"), "conv_0", "Conv", 1, ["UnpackConv", "Conv", "Relu"]),
        (
            FLAT.format(shape="8, 12", bias="12", nodes="y = Gemm(x, w, b)"),
            "gemm_0", "MatMul", 0, ["UnpackMatMul", "Gemm"],
        ),
        (
            FLAT.format(shape="12, 8", bias="12", nodes="y = Gemm<transB=1>(x, w, b)"),
            "gemm_0", "MatMul", 1, ["UnpackMatMul", "Transpose", "Gemm"],
        ),
    ],
)  # fmt: skip
def test_a_weight_to_be_expanded_leaves_the_rest_of_the_graph_alone(text, node, operator, axis, operators):
    layer = _layer(node, operator, axis)
    model = _emptied(text, layer)
    written = write_forms(model, [(layer, "densify")])
    assert [each.op_type for each in written.graph.node] == operators
    assert list(written.graph.node)[-len(model.graph.node) :] == list(model.graph.node)
    assert {t.name for t in written.graph.initializer} == {t.name for t in model.graph.initializer} - {"w"} | {
        "w_tiles",
        "w_index",
    }
    (expanded,) = onnx.reference.ReferenceEvaluator(_unpacking(written)).run(None, {})
    stored = next(t for t in model.graph.initializer if t.name == "w")
    np.testing.assert_array_equal(expanded, numpy_helper.to_array(stored))


def _unpacking(model):
    """The part of a model that expands the weight."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:]
    part.graph.node.extend(node for node in model.graph.node if node.op_type.startswith(("Unpack", "Transpose")))
    part.graph.output.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, None))
    return part


def test_a_computed_bias_stands_in_the_way_of_operators_but_not_of_a_packed_weight():
    layer = _layer("gemm_1", "MatMul", 0)
    text = FLAT.format(shape="8, 12", bias="1", nodes="c = Relu(b) y = Gemm(x, w, c)")
    model = _emptied(text, layer)
    assert [bool(form_obstacle(model, layer, form)) for form in ("kernel", "body", "densify", "dense")] == [
        True,
        True,
        False,
        False,
    ]


def test_names_that_are_taken_are_left_alone():
    layer = _layer("conv_0", "Conv", 1)
    text = CONV.format(nodes="w_tiles = Conv(x, w, b) w_index = Relu(w_tiles) y = Neg(w_index)")
    written = write_forms(_emptied(text, layer), [(layer, "densify")])
    onnx.checker.check_model(written, full_check=True)
    assert {"w_tiles__2", "w_index__2"} <= {t.name for t in written.graph.initializer}


def _in_type(model, kind):
    """The model with all that is float32 in another type."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    return model


@pytest.mark.parametrize(
    ("text", "operator", "opset"),
    [
        (DENSE.format(shape="8, 12", bias="12", nodes="h = MatMul(x, w) a = Add(h, b) y = Relu(a)"), "MatMul", 18),
        (DENSE.format(shape="8, 12", bias="12", nodes="y = MatMul(x, w)"), "MatMul", 13),
        (CONV.format(nodes="h = Conv(x, w, b) y = Clip(h)"), "Conv", 22),
    ],
)
def test_bfloat16_weights_are_packed_in_every_form(text, operator, opset):
    layer = _layer(f"{operator.lower()}_0", operator, 0 if operator == "MatMul" else 1)
    model = _in_type(_emptied(text, layer, opset=opset), TensorProto.BFLOAT16)
    shape = [dim.dim_value or 2 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(shape).astype(helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16))
    # onnxruntime has no such operators on the CPU: what is compared is computed in float32
    wide = {"x": x.astype(np.float32)}
    expected = run(make_session(stand_in(load_model(model)).model, threads=1), wide)["y"]
    for form in ("kernel", "body", "densify"):
        assert form_obstacle(model, layer, form) == ""
        written = write_forms(model, [(layer, form)])
        onnx.checker.check_model(written)
        stored = {tensor.name: tensor.data_type for tensor in written.graph.initializer}
        assert "w" not in stored
        assert stored["w_tiles"] == TensorProto.BFLOAT16
        standing = stand_in(load_model(written))
        assert standing.is_widened
        assert standing.notes == ()
        found = run(make_session(standing.model, threads=1), wide)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    written = write_forms(model, [(layer, "kernel")])
    assert len(written.graph.node) == 1
    found = run(make_session(written, threads=1, kernels=True), {"x": x})["y"]
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=8e-3, atol=8e-3)


@pytest.mark.parametrize(("opset", "operators"), [(13, ["BlockSparseConv", "Clip"]), (15, ["BlockSparseConvClip"])])
def test_bodies_hold_float16_numbers_only_where_the_opset_can_write_them(opset, operators):
    layer = _layer("conv_0", "Conv", 1)
    text = CONV.format(nodes="h = Conv(x, w, b) y = Clip(h, low)").replace("float[12] b)", "float[12] b, float low)")
    model = _in_type(_emptied(text, layer, opset=opset), TensorProto.FLOAT16)
    x = np.random.default_rng(1).standard_normal((2, 8, 6, 7)).astype(np.float16)
    expected = run(make_session(model, threads=1), {"x": x})["y"]
    for form in ("kernel", "body"):
        written = write_forms(model, [(layer, form)])
        assert [node.op_type for node in written.graph.node] == operators
        for kernels in (True, False):
            found = run(make_session(written, threads=1, kernels=kernels), {"x": x})["y"]
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
