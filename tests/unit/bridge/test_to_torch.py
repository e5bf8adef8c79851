"""ONNX graphs as modules: same outputs as onnxruntime, parameters under their ONNX names."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import numpy as np
import onnx
import pytest
import torch
from bridging import answers, convnet, gap, images
from graphs import model_of
from onnx import helper, numpy_helper

from onnxprune.bridge import to_torch
from onnxprune.core.errors import ModelError, UsageError
from onnxprune.graph import load_model

PARITY = 1e-5


@pytest.mark.parametrize("name", ["glyphs47_resnet20", "glyphs47_mobilenetv2", "glyphs47_vgg"])
def test_outputs_equal_onnxruntime_on_trained_nets(shared, name):
    proto = onnx.load(shared / "models" / f"{name}.onnx")
    module = to_torch(shared / "models" / f"{name}.onnx")
    x = np.random.default_rng(1).standard_normal((3, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert gap(found, answers(proto, {"image": x})["logits"]) < PARITY


@pytest.mark.parametrize("name", ["glyphs47_resnet20", "glyphs47_mobilenetv2", "glyphs47_vgg"])
def test_every_weight_is_a_parameter_with_gradient(shared, name):
    proto = onnx.load(shared / "models" / f"{name}.onnx")
    module = to_torch(proto)
    module(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    weights = {i.name for i in proto.graph.initializer if i.data_type == onnx.TensorProto.FLOAT and i.dims}
    parameters = dict(module.named_parameters())
    assert set(parameters) == weights
    assert [n for n, p in parameters.items() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("batch", [1, 4])
def test_outputs_equal_onnxruntime_when_written_by_hand(batch):
    x = images(batch)
    with torch.no_grad():
        found = to_torch(convnet())(torch.from_numpy(x)).numpy()
    assert gap(found, answers(convnet(), {"x": x})["y"]) < PARITY


def test_inputs_go_by_position_or_by_name():
    module = to_torch(model_of("g (float[N,3] a, float[N,3] b) => (float[N,3] y) { y = Sub(a, b) }", ("a", "b")))
    a, b = torch.ones(2, 3), torch.full((2, 3), 3.0)
    for found in (module(a, b), module(a, b=b), module(b=b, a=a)):
        assert torch.equal(found, torch.full((2, 3), -2.0))


def test_wrong_inputs_are_refused_with_the_names():
    module = to_torch(convnet())
    for call in (lambda: module(), lambda: module(torch.ones(1), torch.ones(1)), lambda: module(z=torch.ones(1))):
        with pytest.raises(UsageError, match="inputs x"):
            call()


def test_several_outputs_come_in_order_with_input_and_initializer_among_them():
    proto = model_of("g (float[2,3] x, float[2,3] w) => (float[2,3] s, float[2,3] p) { s = Add(x, w)  p = Mul(x, w) }")
    proto.graph.output.append(helper.make_tensor_value_info("x", 1, [2, 3]))
    proto.graph.output.append(helper.make_tensor_value_info("w", 1, [2, 3]))
    module = to_torch(proto)
    x = torch.arange(6.0).reshape(2, 3)
    w = dict(module.named_parameters())["w"]
    assert module.output_names == ("s", "p", "x", "w")
    for found, expected in zip(module(x), (x + w, x * w, x, w), strict=True):
        assert torch.equal(found, expected)


def test_roles_when_scalars_bounds_and_statistics_are_about():
    proto = model_of(
        """g (float[N,4,2,2] x, float[4,4,1,1] w, float[4] s, float[4] b, float[4] m, float[4] v, float[1] k,
              float[1,4,1,1] mask) => (float[N,4,2,2] y) {
          c = Conv(x, w)
          n = BatchNormalization(c, s, b, m, v)
          lo = Constant<value = float {0.0}>()
          hi = Constant<value = float {6.0}>()
          r = Clip(n, lo, hi)
          q = Mul(r, k)
          y = Add(q, mask)
        }"""
    )
    mask = next(t for t in proto.graph.initializer if t.name == "mask")
    mask.CopyFrom(numpy_helper.from_array(np.array([0, 0, -np.inf, 0], np.float32).reshape(1, 4, 1, 1), "mask"))
    module = to_torch(proto)
    assert {n for n, _ in module.named_parameters()} == {"w", "s", "b"}
    assert set(module.state_dict()) == {"w", "s", "b", "m", "v"}


def test_running_statistics_move_in_training_mode_only():
    text = """g (float[N,4,2,2] x, float[4] s, float[4] b, float[4] m, float[4] v) => (float[N,4,2,2] y) {
      y = BatchNormalization<momentum=0.75>(x, s, b, m, v)
    }"""
    module = to_torch(model_of(text))
    mean = dict(module.named_buffers())["m"]
    before = mean.clone()
    x = torch.randn(16, 4, 2, 2, generator=torch.Generator().manual_seed(3))
    module(x)
    assert torch.equal(mean, before)
    module.train()
    module(x)
    assert torch.allclose(mean, 0.75 * before + 0.25 * x.mean((0, 2, 3)), atol=1e-6)


def test_shared_statistics_stay_when_training():
    text = """g (float[N,4,2,2] x, float[4] s, float[4] b, float[4] m, float[4] v) => (float[N,4,2,2] y) {
      n = BatchNormalization(x, s, b, m, v)
      y = BatchNormalization(n, s, b, m, v)
    }"""
    module = to_torch(model_of(text)).train()
    x = images(4)[:, [0, 1, 2, 0], :2, :2]
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert gap(found, answers(model_of(text), {"x": x})["y"]) < PARITY


def test_shared_initializer_is_one_parameter_with_both_gradients():
    module = to_torch(
        model_of("g (float[N,4] x, float[4,4] w) => (float[N,4] y) { h = MatMul(x, w)  y = MatMul(h, w) }")
    )
    (w,) = module.parameters()
    x = torch.eye(4)
    module(x).sum().backward()
    twin = w.detach().clone().requires_grad_()
    (x @ twin @ twin).sum().backward()
    assert torch.allclose(w.grad, twin.grad, atol=1e-6)


def test_constant_nodes_serve_as_weights_and_shapes():
    proto = model_of(
        """g (float[N,3,2,2] x, float[4,3,1,1] w) => (float[N,16] y) {
          c = Conv(x, w)
          k = Constant<value = float[4] {1.0, 2.0, 3.0, 4.0}>()
          u = Constant<value = int64[2] {0, -1}>()
          f = Reshape(c, u)
          four = Constant<value = int64[3] {0, 4, 4}>()
          t = Reshape(f, four)
          g = Mul(t, k)
          y = Reshape(g, u)
        }"""
    )
    x = images(2)[:, :, :2, :2]
    module = to_torch(proto)
    with torch.no_grad():
        assert gap(module(torch.from_numpy(x)).numpy(), answers(proto, {"x": x})["y"]) < PARITY
    assert {n for n, _ in module.named_parameters()} == {"w", "k"}


def test_unknown_op_is_named_with_its_node():
    proto = model_of("g (float[N,4] x) => (float[N,4] y) { h = Relu(x)  y = Softplus(h) }")
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Frobnicate", "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 3))
    with pytest.raises(ModelError, match=r"Frobnicate 'softplus_1'.*com\.example.*operator set 3"):
        to_torch(proto)


def test_known_op_in_an_unknown_version_lists_the_versions():
    model = load_model(
        model_of(
            """g (float[N,4,2,2] x, float[4] s, float[4] b, float[4] m, float[4] v) => (float[N,4,2,2] y) {
              y = BatchNormalization(x, s, b, m, v)
            }"""
        )
    )
    old = model.with_header(dataclasses.replace(model.header, opset_imports={"": 6}))
    with pytest.raises(ModelError, match=r"operator set 6.*versions 7 to the newest"):
        to_torch(old)


def test_deep_graphs_need_no_recursion():
    names = ["x", *(f"t{i}" for i in range(3000)), "y"]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names)]
    value = [helper.make_tensor_value_info(n, 1, [2]) for n in ("x", "y")]
    proto = helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:]), ir_version=8)
    assert to_torch(proto)(torch.ones(2)).tolist() == [-1.0, -1.0]


def test_intermediates_are_freed_after_their_last_use():
    module = to_torch(convnet())
    alive = []
    with torch.no_grad(), module.watch(["a"], lambda _, t: alive.append(t._version)):
        module(torch.from_numpy(images(1)))
    released = [slot for step in module._program.steps for slot in step.release]
    assert len(released) == len(set(released))
    assert module._program.slots["a"] in module._program.steps[1].release
    assert module._program.slots["y"] not in released
    assert len(alive) == 1


def test_recording_gives_tensors_with_gradients():
    module = to_torch(convnet())
    with module.record(["r", "j"]) as tape:
        module(torch.from_numpy(images(2)))
    assert tape["r"].shape == (2, 8, 8, 8)
    assert tape["j"].requires_grad
    with pytest.raises(UsageError, match="'nowhere'"), module.record(["nowhere"]):
        pass


def test_copies_have_a_mode_and_weights_of_their_own():
    module = to_torch(convnet())
    twin = copy.deepcopy(module)
    x = torch.from_numpy(images(2))
    with torch.no_grad():
        before = module(x)
        assert torch.equal(twin(x), before)
        for parameter in twin.parameters():
            parameter.mul_(2)
        assert torch.equal(module(x), before)
    twin.train()
    assert not module.training


def test_a_module_without_data_can_be_copied():
    module = to_torch(convnet()).to("meta")
    module.requires_grad_(False)
    copied = copy.deepcopy(module)
    assert {name: (p.device.type, p.requires_grad) for name, p in copied.named_parameters()} == {
        name: ("meta", False) for name, _ in module.named_parameters()
    }


def test_module_is_unaffected_when_the_model_changes_later():
    model = load_model(convnet())
    module = to_torch(model)
    x = torch.from_numpy(images(1))
    with torch.no_grad():
        before = module(x)
        model.replace("w1", np.zeros((8, 3, 3, 3), np.float32))
        assert torch.equal(module(x), before)
