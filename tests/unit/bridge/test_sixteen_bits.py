"""float16 and bfloat16 models: computed as they are, trained in float32, written back in their own type."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from bridging import answers, convnet, gap, images
from graphs import model_of
from onnx import TensorProto, helper, numpy_helper

from onnxprune.bridge import predict, to_torch, write_back
from onnxprune.core.errors import ModelError
from onnxprune.graph import Model, for_training, load_model, narrowed_back

KINDS = {"float16": (np.float16, TensorProto.FLOAT16), "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16)}
ULPS = {"float16": 2**-10, "bfloat16": 2**-7}
MIXED = """g (float16[N,4] x, float[4,4] w, float16[4,4] v) => (float[N,4] y) {
  a = Cast<to=1>(x)
  b = MatMul(a, w)
  c = Cast<to=10>(b)
  d = MatMul(c, v)
  two = Constant<value = float {2.0}>()
  k = Cast<to=10>(two)
  e = Mul(d, k)
  y = Cast<to=1>(e)
}"""


def narrow(proto: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """The model with all that is float32 made 16 bits wide."""
    dtype, number = KINDS[kind]
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = number
    return proto


def mixed() -> Model:
    proto = model_of(MIXED, ("x", "v", "w"))
    rng = np.random.default_rng(0)
    for name, dtype in (("w", np.float32), ("v", np.float16)):
        proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal((4, 4)).astype(dtype), name))
        proto.graph.input.remove(next(i for i in proto.graph.input if i.name == name))
    return load_model(proto)


def trained(model: Model, steps: int = 2) -> torch.nn.Module:
    wide, _ = for_training(model)
    module = to_torch(wide).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for step in range(steps):
        optimizer.zero_grad()
        module(torch.from_numpy(images(4, seed=step))).square().mean().backward()
        optimizer.step()
    return module.eval()


def test_float16_outputs_are_onnxruntimes_to_four_units_in_the_last_place():
    proto, x = narrow(convnet(), "float16"), images(3).astype(np.float16)
    found = predict(to_torch(proto), {"x": x})["y"]
    assert found.dtype == np.float16
    assert gap(found.astype(np.float32), answers(proto, {"x": x})["y"].astype(np.float32)) < 4 * ULPS["float16"]


@pytest.mark.parametrize("kind", KINDS)
def test_float32_copy_gives_the_outputs_to_four_units_in_the_last_place(kind):
    model, x = load_model(narrow(convnet(), kind)), images(3)
    wide, _ = for_training(model)
    with torch.no_grad():
        own = to_torch(model)(torch.from_numpy(x).to(getattr(torch, kind))).float().numpy()
    assert gap(predict(to_torch(wide), {"x": x})["y"], own) < 4 * ULPS[kind]


def test_float32_model_is_trained_as_it_is():
    model = load_model(convnet())
    assert for_training(model) == (model, None)


@pytest.mark.parametrize("kind", KINDS)
def test_net_trains_in_float32_and_comes_back_in_its_own_type(kind):
    model = load_model(narrow(convnet(), kind))
    wide, note = for_training(model)
    assert note is not None
    assert kind in note
    module = trained(model)
    write_back(module, wide)
    back = narrowed_back(wide, model)
    for name, parameter in module.named_parameters():
        stored = back.read(name)
        assert stored.dtype == KINDS[kind][0]
        np.testing.assert_array_equal(stored, parameter.detach().numpy().astype(KINDS[kind][0]))
    assert not np.array_equal(back.read("wf"), model.read("wf"))
    onnx.checker.check_model(back.to_proto())


def test_trained_module_goes_straight_into_the_narrow_model_too():
    model = load_model(narrow(convnet(), "float16"))
    module = trained(model)
    copy = model.copy()
    write_back(module, copy)
    np.testing.assert_array_equal(copy.read("w1"), dict(module.named_parameters())["w1"].detach().numpy().astype("f2"))


def test_casts_and_constants_between_types_are_widened_and_types_kept_on_the_way_back():
    model = mixed()
    wide, note = for_training(model)
    assert note is not None
    assert {c.dtype for c in wide.initializers().values()} == {np.dtype(np.float32)}
    assert wide.inputs()[0].dtype == np.float32
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float16)
    expected = answers(model, {"x": x})["y"]
    assert gap(predict(to_torch(wide), {"x": x.astype(np.float32)})["y"], expected) < 4 * ULPS["float16"]
    wide.replace("w", wide.read("w") + np.float32(1e-6))
    wide.replace("v", wide.read("v") + np.float32(0.25))
    back = narrowed_back(wide, model)
    assert (back.read("w").dtype, back.read("v").dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(back.read("w"), model.read("w") + np.float32(1e-6))
    np.testing.assert_array_equal(back.read("v"), (model.read("v").astype(np.float32) + 0.25).astype(np.float16))


def test_values_are_rounded_to_nearest():
    model = load_model(narrow(model_of("g (float[N,2] x, float[2] w) => (float[N,2] y) { y = Mul(x, w) }"), "float16"))
    wide, _ = for_training(model)
    wide.replace("w", np.array([1 + 0.75 * 2**-10, 65519.0], np.float32))
    np.testing.assert_array_equal(narrowed_back(wide, model).read("w"), np.array([1 + 2**-10, 65504.0], np.float16))


def test_value_that_float16_cannot_hold_is_an_error_with_its_name():
    model = load_model(narrow(model_of("g (float[N,2] x, float[2] w) => (float[N,2] y) { y = Mul(x, w) }"), "float16"))
    wide, _ = for_training(model)
    wide.replace("w", np.array([1.0, -65520.0], np.float32))
    with pytest.raises(ModelError, match=r"'w' holds 65520 .* float16 \(65504"):
        narrowed_back(wide, model)
    module = to_torch(wide)
    with pytest.raises(ModelError, match="'w' holds 65520"):
        write_back(module, model.copy())


def test_another_model_is_refused():
    narrow_net = load_model(narrow(convnet(), "float16"))
    with pytest.raises(ModelError, match="no initializer 'w1'"):
        narrowed_back(mixed(), narrow_net)


def test_reading_the_bytes_of_a_float16_is_refused():
    nodes = [
        helper.make_node("BitCast", ["x"], ["b"], to=TensorProto.INT16),
        helper.make_node("Cast", ["b"], ["y"], to=1),
    ]
    values = [helper.make_tensor_value_info(n, t, [2]) for n, t in (("x", TensorProto.FLOAT16), ("y", 1))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=10))
    with pytest.raises(ModelError, match="BitCast 'b' reads the bytes"):
        for_training(model)


def test_bfloat16_constants_come_as_bfloat16():
    value = helper.make_tensor("v", TensorProto.BFLOAT16, [1], [1.5])
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["of_shape"], value=value),
        helper.make_node("Cast", ["x"], ["sizes"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["sizes"], ["of_data"], value=value),
        helper.make_node("Constant", [], ["constant"], value=value),
    ]
    shapes = {"of_shape": ["A"], "of_data": ["B", "C"], "constant": [1]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])], outputs)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    found = to_torch(proto)(torch.tensor([2.0, 3.0]))
    assert [(t.dtype, tuple(t.shape)) for t in found] == [(torch.bfloat16, shape) for shape in ((2,), (2, 3), (1,))]
    assert all(bool((t == 1.5).all()) for t in found)
