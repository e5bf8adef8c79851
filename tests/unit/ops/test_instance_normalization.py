"""InstanceNormalization: channels go exactly."""

from __future__ import annotations

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.groups import prune

TEXT = """g (float[N,3,6,6] x, float[8,3,3,3] w1, float[8] b1, float[8] s, float[8] b, float[5,8,1,1] w2)
=> (float[N,5,4,4] y) {
  a = Conv(x, w1, b1)
  n = InstanceNormalization<epsilon=0.01>(a, s, b)
  r = Sigmoid(n)
  y = Conv(r, w2)
}"""


@pytest.mark.parametrize("approximate", [False, True])
def test_channels_go_exactly(approximate):
    item = assert_certified(contrib_model(TEXT), approximate=approximate)
    assert sizes(item) == [8]
    assert item.analysis.groups[0].approximate == ""


def test_scale_and_shift_follow_their_channels():
    item = analysed(contrib_model(TEXT))
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {item.group("conv_0"): (1, 5)}))
    for name in ("s", "b"):
        assert np.array_equal(slim.read(name), item.model.read(name)[[1, 5]])


def test_shift_alone_keeps_nothing_of_a_masked_channel():
    # the zeroed shift is what lets the sum over channels behind it be exact
    text = TEXT.replace("r = Sigmoid(n)", "axes = Constant<value_ints=[1]>() t = ReduceSum(n, axes) r = Mul(n, t)")
    assert sizes(assert_certified(contrib_model(text))) == [8]


@pytest.mark.parametrize("shape", ["N,8,5", "N,8,5,4", "N,8,3,2,2"])
def test_counterpart_gives_onnxruntimes_outputs(shape):
    text = (
        f"g (float[{shape}] x, float[8] s, float[8] b) => (float[{shape}] y) {{ y = InstanceNormalization(x, s, b) }}"
    )
    assert_counterpart(contrib_model(text))
