"""Gates: where masks multiply weights, so that dropped channels are as good as gone."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from bridging import convnet
from gating import check
from graphs import model_of
from pruning import analysed

from onnxprune.bridge import to_torch
from onnxprune.bridge.moments import feed
from onnxprune.trial.gates import find_gates

TOLERANCE = 1e-4

ATTENTION = """g (float[N,5,12] x, float[12,8] wq, float[12,8] wk, float[12,12] wv, float[12,12] wo)
   => (float[N,5,12] y) {
  q = MatMul(x, wq)
  k = MatMul(x, wk)
  v = MatMul(x, wv)
  t = Transpose<perm=[0,2,1]>(k)
  s = MatMul(q, t)
  a = Softmax(s)
  c = MatMul(a, v)
  y = MatMul(c, wo)
}"""

QUANTISED = """g (float[N,6] x, int8[6,8] w1, float s1, int8 z1, float[8,4] w2) => (float[N,4] y) {
  w = DequantizeLinear(w1, s1, z1)
  h = MatMul(x, w)
  r = Relu(h)
  y = MatMul(r, w2)
}"""


def test_readers_are_gated_where_there_are_any():
    item = analysed(convnet())
    gates = find_gates(item.model, item.analysis, {"x": np.ones((2, 3, 8, 8), np.float32)})
    assert set(gates.groups) == set(item.analysis.sizes)
    module = to_torch(item.model)
    touched = gates.values(module, {name: torch.ones(size) for name, size in item.analysis.sizes.items()})
    # the depthwise weight hands on the channels that it reads; it needs no gate
    assert set(touched) == {"w2", "w3", "wf"}


def test_a_dropped_channel_still_has_a_slope():
    item = analysed(convnet())
    feeds = {"x": np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)}
    gates = find_gates(item.model, item.analysis, feeds)
    module = to_torch(item.model).eval()
    for name, size in item.analysis.sizes.items():
        mask = torch.ones(size).index_fill_(0, torch.tensor([0, 2]), 0.0).requires_grad_()
        out = module.call_with(gates.values(module, {name: mask}), feed(module, feeds))
        (slope,) = torch.autograd.grad(out.square().sum(), [mask])
        assert (slope[[0, 2]] != 0).any()


def test_widths_that_only_computed_tensors_contract_are_gated_once():
    item = analysed(model_of(ATTENTION))
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 5, 12)).astype(np.float32)}
    gates = find_gates(item.model, item.analysis, feeds)
    inner = item.group("matmul_0")
    assert inner == item.group("matmul_1")
    module = to_torch(item.model)
    ones = torch.ones(item.analysis.sizes[inner])
    assert set(gates.values(module, {inner: ones})) == {"wq"}
    check(item, gates, feeds, seed=3)


def test_a_group_without_floating_readers_or_writers_has_no_gate_of_integers():
    proto = model_of(QUANTISED)
    for tensor in proto.graph.initializer:
        if tensor.name == "s1":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.1), "s1"))
        if tensor.name in ("w1", "z1"):
            shape = () if tensor.name == "z1" else (6, 8)
            values = np.zeros((), np.int8) if not shape else np.random.default_rng(0).integers(-9, 9, shape, np.int8)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    item = analysed(proto)
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)}
    gates = find_gates(item.model, item.analysis, feeds)
    module = to_torch(item.model)
    found = gates.values(module, {name: torch.ones(size) for name, size in item.analysis.sizes.items()})
    assert set(found) <= {"w2"}
    check(item, gates, feeds, seed=0)
