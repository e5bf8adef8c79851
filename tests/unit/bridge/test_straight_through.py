"""Training through rounding: QuantizeLinear passes gradients on, and stops them where it clamps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from bridging import answers, gap
from graphs import model_of
from onnx import TensorProto, helper, numpy_helper

from onnxprune.bridge import predict, to_torch, write_back
from onnxprune.graph import load_model


def model(text: str, **values: np.ndarray) -> onnx.ModelProto:
    """The model of a text, with some given initializers."""
    proto = model_of(text, ("x", *values))
    for name, array in values.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
        proto.graph.input.remove(next(value for value in proto.graph.input if value.name == name))
    return proto


ROUND_TRIP = """g (float[4] x, float s, int8 z) => (float[4] y) {
  q = QuantizeLinear(x, s, z)
  y = DequantizeLinear(q, s, z)
}"""
QUANTISED = """g (float[N,6] x, float[6,8] w, float[8,3] v, float s, int8 z, float t) => (float[N,3] y) {
  wq = QuantizeLinear(w, s, z)
  wd = DequantizeLinear(wq, s, z)
  a = MatMul(x, wd)
  r = Relu(a)
  q = QuantizeLinear(r, t, z)
  d = DequantizeLinear(q, t, z)
  y = MatMul(d, v)
}"""
SCALES = {"s": np.array(0.05, np.float32), "z": np.array(0, np.int8), "t": np.array(0.1, np.float32)}


def test_gradient_is_one_inside_the_range_and_zero_outside():
    module = to_torch(model(ROUND_TRIP, s=np.array(0.5, np.float32), z=np.array(3, np.int8)))
    x = torch.tensor([0.3, -7.1, 80.0, -90.0], requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.tolist() == [0.5, -7.0, 62.0, -65.5]
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_integers_inside_the_module_are_whole():
    module = to_torch(model(ROUND_TRIP, s=np.array(0.013, np.float32), z=np.array(-5, np.int8)))
    with module.record(["q"]) as tape, torch.no_grad():
        module(torch.tensor([0.3, -0.71, 1.234, 5.0]))
    assert torch.equal(tape["q"], tape["q"].round())


def test_weights_in_front_of_a_quantiser_learn_and_the_file_agrees():
    proto = model(QUANTISED, **SCALES)
    module = to_torch(proto)
    assert {name for name, _ in module.named_parameters()} == {"w", "v"}
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    target = x[:, :3].abs()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (module(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    tuned = load_model(proto)
    write_back(module, tuned)
    feeds = {"x": x.numpy()}
    # a value at the middle between two steps may round either way: one step of the activation's quantiser
    assert gap(predict(module, feeds)["y"], answers(tuned, feeds)["y"]) < 0.02


@pytest.mark.parametrize("per_channel", [False, True])
def test_gradients_pass_a_convolution_of_integers(per_channel):
    rng = np.random.default_rng(0)
    # powers of two: every sum is exact, in whatever order. Weights of seven bits: on processors without VNNI
    # onnxruntime adds two products of bytes in 16 bits, and saturates
    scale = 2.0 ** rng.integers(-8, -4, 5 if per_channel else 1).astype(np.float32)
    tensors = {
        "w": (rng.integers(-16, 17, (4, 3, 1, 1)) / 8).astype(np.float32),
        "sx": np.array(0.0625, np.float32), "zx": np.array(128, np.uint8), "sy": np.array(0.25, np.float32),
        "k": rng.integers(-60, 60, (5, 4, 3, 3)).astype(np.int8), "b": rng.integers(-99, 99, 5).astype(np.int32),
        "sk": scale if per_channel else scale.reshape(()), "zk": np.zeros(5 if per_channel else (), np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "sx", "zx"], ["q"]),
        helper.make_node("QLinearConv", ["q", "sx", "zx", "k", "sk", "zk", "sy", "zx", "b"], ["c"], pads=[1] * 4),
        helper.make_node("DequantizeLinear", ["c", "sy", "zx"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, 6, 6]) for n, c in (("x", 3), ("y", 5)))
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, n) for n, v in tensors.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    module = to_torch(proto)
    images = (rng.integers(-16, 17, (2, 3, 6, 6)) / 8).astype(np.float32)
    found = module(torch.from_numpy(images))
    found.square().sum().backward()
    gradient = dict(module.named_parameters())["w"].grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0
    np.testing.assert_array_equal(found.detach().numpy(), answers(proto, {"x": images})["y"])
