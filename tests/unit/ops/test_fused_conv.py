"""FusedConv: convolution, sum and activation in one node."""

from __future__ import annotations

import pytest
from contrib import TOLERANCE, assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed

from onnxprune.bridge import to_torch
from onnxprune.core.errors import ModelError

ACTIVATIONS = {
    "none": "",
    "Relu": 'activation="Relu"',
    "Tanh": 'activation="Tanh"',
    "Sigmoid": 'activation="Sigmoid"',
    "LeakyRelu": 'activation="LeakyRelu", activation_params=[0.2]',
    "Clip around zero": 'activation="Clip", activation_params=[-0.4, 0.5]',
    "Clip above zero": 'activation="Clip", activation_params=[0.1, 0.5]',
    "HardSigmoid": 'activation="HardSigmoid", activation_params=[0.3, 0.4]',
    "HardSwish": 'activation="HardSwish"',
}
KEEP_ZERO = {"none", "Relu", "Tanh", "LeakyRelu", "Clip around zero", "HardSwish"}


def net(attributes: str, after: str = "f = Identity(s)"):
    """Two fused convolutions, the second with a sum; `after` reads s and gives f."""
    return contrib_model(
        f"""g (float[N,3,6,6] x, float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2, float[8] b2, float[4,8,1,1] w3)
        => (float[N,4,6,6] y) {{
          r = com.microsoft.FusedConv<pads=[1,1,1,1], {attributes or "group=1"}>(x, w1, b1)
          s = com.microsoft.FusedConv<pads=[1,1,1,1], {attributes or "group=1"}>(r, w2, b2, r)
          {after}
          y = Conv(f, w3)
        }}"""
    )


@pytest.mark.parametrize("attributes", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_sum_couples_its_terms_and_is_exact(attributes):
    item = assert_certified(net(attributes))
    assert sizes(item) == [8]
    assert {m.node for m in item.analysis.groups[0].producers} == {"fusedconv_0", "fusedconv_1"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_zeros_survive_the_activations_that_keep_them(name):
    norm = "f = LpNormalization<axis=1>(s)"  # lets only channels go that mask to zero
    item = analysed(net(ACTIVATIONS[name], norm))
    assert sizes(item) == ([8] if name in KEEP_ZERO else [])
    if name in KEEP_ZERO:
        assert_certified(net(ACTIVATIONS[name], norm))


@pytest.mark.parametrize("attributes", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_counterpart_gives_onnxruntimes_outputs(attributes):
    assert_counterpart(net(attributes), TOLERANCE)


def test_unknown_activation_is_refused_by_name():
    with pytest.raises(ModelError, match=r"fusedconv_0.*'Shrug'"):
        to_torch(net('activation="Shrug"'))


def test_groups_and_macs_are_those_of_a_convolution():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float[12,2,3,3] w2, float[4,12,1,1] w3) => (float[N,4,4,4] y) {
      a = Conv(x, w1)
      d = com.microsoft.FusedConv<group=4, activation="Relu">(a, w2)
      y = Conv(d, w3)
    }"""
    item = assert_certified(contrib_model(text))
    assert sizes(item) == [2, 3, 4]
    assert item.analysis.node_macs["fusedconv_1"](item.analysis.sizes) == 16 * 12 * 2 * 9
