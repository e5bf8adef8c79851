"""What channels carry, against activations taken by hand."""

from __future__ import annotations

import numpy as np
import torch
from bridging import convnet, images
from graphs import model_of
from pruning import analysed

from onnxprune.bridge import to_torch
from onnxprune.train import open_data
from onnxprune.trial.probe import Probe
from onnxprune.trial.readings import mean_magnitudes, mean_ranks

CONCAT = """g (float[N,4] x, float[4,6] w1, float[4,3] w2, float[9,5] w3) => (float[N,5] y) {
  a = MatMul(x, w1)
  b = MatMul(x, w2)
  j = Concat<axis=1>(a, b)
  r = Relu(j)
  y = MatMul(r, w3)
}"""


def probe_of(proto, arrays):
    item = analysed(proto)
    data = open_data(arrays, item.model.inputs(), outputs=item.model.outputs())
    return item, Probe(item.model, item.analysis, data)


def test_magnitudes_are_read_where_weights_read_and_split_by_group():
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    item, probe = probe_of(model_of(CONCAT), {"x": x})
    w1, w2 = (np.asarray(item.model.read(name)) for name in ("w1", "w2"))
    for node, weight in (("matmul_0", w1), ("matmul_1", w2)):
        expected = np.maximum(x @ weight, 0).mean(0)
        np.testing.assert_allclose(probe.magnitudes[item.group(node)], expected / expected.mean(), rtol=1e-5)


def test_places_of_one_group_are_averaged_as_shares():
    item, probe = probe_of(convnet(), {"x": images(24)})
    module = to_torch(item.model).eval()
    with torch.no_grad(), module.record(["r", "s", "f"]) as tape:
        module(torch.from_numpy(images(24)))
    # the first width is read by two pointwise convolutions, one before and one after the depthwise one
    shares = [tape[name].abs().mean((0, 2, 3)).double().numpy() for name in ("r", "s")]
    expected = np.mean([share / share.mean() for share in shares], axis=0)
    np.testing.assert_allclose(probe.magnitudes[item.group("conv_0")], expected, rtol=1e-4)


def test_ranks_of_maps():
    tensor = torch.zeros(2, 3, 4, 4)
    tensor[:, 0] = torch.eye(4)
    tensor[0, 1] = 1.0
    assert mean_ranks(tensor, 1).tolist() == [4.0, 0.5, 0.0]
    flat = torch.stack([torch.arange(6.0), torch.ones(6), torch.zeros(6)], 1)
    assert mean_ranks(flat, 1).tolist() == [1.0, 1.0, 0.0]
    assert mean_magnitudes(flat, 1).tolist() == [2.5, 1.0, 0.0]
