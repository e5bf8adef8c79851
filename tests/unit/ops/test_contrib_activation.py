"""Activations of onnxruntime's own domain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from onnx import TensorProto, helper
from pruning import analysed

from onnxprune.bridge import to_torch

FORMS = {
    "Gelu": "Gelu(a)",
    "FastGelu": "FastGelu(a)",
    "FastGelu with bias": "FastGelu(a, b)",
    "BiasGelu": "BiasGelu(a, b)",
    "QuickGelu": "QuickGelu<alpha=1.3>(a)",
    "QuickGelu by default": "QuickGelu(a)",
}


def net(activation: str, after: str = "f = Identity(r)"):
    return contrib_model(
        f"""g (float[N,5,12] x, float[12,16] w1, float[16] b, float[16,4] w2) => (float[N,5,4] y) {{
          a = MatMul(x, w1)
          r = com.microsoft.{activation}
          {after}
          y = MatMul(f, w2)
        }}"""
    )


@pytest.mark.parametrize("activation", FORMS.values(), ids=FORMS.keys())
def test_channels_go_exactly_and_mask_to_zero(activation):
    assert sizes(assert_certified(net(activation))) == [16]
    assert sizes(assert_certified(net(activation, "f = LpNormalization(r)"))) == [16]


@pytest.mark.parametrize("activation", FORMS.values(), ids=FORMS.keys())
def test_counterpart_gives_onnxruntimes_outputs(activation):
    assert_counterpart(net(activation))


def cut(nodes: str, width: int, op: str):
    """A net with an operator that onnxruntime runs on CUDA alone; the file states what it gives."""
    model = contrib_model(
        f"""g (float[N,5,12] x, float[12,16] w1, float[16] b, float[{width},4] w2) => (float[N,5,4] y) {{
          a = MatMul(x, w1)
          {nodes}
          y = MatMul(r, w2)
        }}"""
    )
    node = next(n for n in model.graph.node if n.op_type == op)
    model.graph.value_info.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, ["N", 5, width]))
    return model


def test_halves_of_a_split_gelu_lose_the_same_channels():
    item = analysed(cut("r = com.microsoft.BiasSplitGelu(a, b)", 8, "BiasSplitGelu"))
    (group,) = item.analysis.groups
    assert (group.size, group.multiple) == (8, 2)
    weight = next(m for m in group.members if m.initializer == "w1")
    assert item.analysis.labels(group.name, weight).tolist() == [*range(8), *range(8)]


def test_split_gelu_multiplies_the_left_half_by_gelu_of_the_right():
    model = contrib_model(
        "g (float[N,5,6] x, float[6] b) => (float[N,5,3] y) { y = com.microsoft.BiasSplitGelu(x, b) }"
    )
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 5, 6)).astype(np.float32))
    module = to_torch(model)
    z = x + dict(module.named_parameters())["b"]
    with torch.no_grad():
        expected = z[..., :3] * z[..., 3:] * 0.5 * (1 + torch.erf(z[..., 3:] / 2**0.5))
        torch.testing.assert_close(module(x), expected)


def test_bias_add_couples_what_it_adds():
    item = analysed(cut("c = MatMul(x, w1) r = com.microsoft.BiasAdd(a, b, c)", 16, "BiasAdd"))
    assert sizes(item) == [16]
    module = to_torch(
        contrib_model("g (float[N,5,6] x, float[6] b) => (float[N,5,6] y) { y = com.microsoft.BiasAdd(x, b, x) }")
    )
    x = torch.ones(1, 5, 6)
    torch.testing.assert_close(module(x), 2 * x + dict(module.named_parameters())["b"])
