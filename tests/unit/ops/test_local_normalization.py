"""LRN, LpNormalization and MeanVarianceNormalization."""

from __future__ import annotations

import numpy as np
import pytest
from bridging import answers
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed

HEAD = "g (float[N,3,6,6] x, float[8,3,1,1] w1, float[8] b1, float[5,8,1,1] w2) => (float[N,5,6,6] y)"


def net(middle: str, conv: str = "a = Conv(x, w1)"):
    text = f"{HEAD} {{ {conv} {middle} y = Conv(n, w2) }}"
    return contrib_model(text.replace(", float[8] b1", "") if "b1" not in conv else text)


@pytest.mark.parametrize("approximate", [False, True])
def test_neighbours_of_a_window_over_channels_stay(approximate):
    item = analysed(net("n = LRN<size=3>(a)"), approximate=approximate)
    assert sizes(item) == []
    assert "normalises over neighbouring channels" in item.reasons("conv_0")


@pytest.mark.parametrize("size", [1, 3, 5])
def test_response_normalisation_gives_onnxruntimes_outputs(size):
    assert_counterpart(net(f"n = LRN<size={size}, alpha=0.7, beta=0.6, bias=1.5>(a)"))


@pytest.mark.parametrize("order", [1, 2])
def test_norm_over_channels_that_mask_to_zero_is_exact(order):
    item = assert_certified(net(f"n = LpNormalization<axis=1, p={order}>(a)", "a = Conv(x, w1, b1)"))
    assert sizes(item) == [8]
    assert item.analysis.groups[0].approximate == ""


def test_norm_over_channels_that_do_not_mask_to_zero_is_frozen():
    item = analysed(net("s = Sigmoid(a) n = LpNormalization<axis=1>(s)"))
    assert sizes(item) == []
    assert "sums over channels that are not zero where masked" in item.reasons("conv_0")


def test_norm_over_another_axis_leaves_channels_free():
    item = assert_certified(net("s = Sigmoid(a) n = LpNormalization<axis=-1>(s)"))
    assert sizes(item) == [8]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("axis", [1, -1])
def test_norm_gives_onnxruntimes_outputs_zeros_included(order, axis):
    sparse = "r = Relu(a) o = Constant<value_float=-1.0>() s = Add(r, o) t = Relu(s)"
    assert_counterpart(net(f"{sparse} n = LpNormalization<axis={axis}, p={order}>(t)"))


def test_mean_and_variance_over_channels_go_approximately():
    model = net("n = MeanVarianceNormalization<axes=[1,2,3]>(a)")
    item = analysed(model)
    assert sizes(item) == []
    assert "takes statistics over this axis" in item.reasons("conv_0")
    assert sizes(assert_certified(model, approximate=True)) == [8]


@pytest.mark.parametrize("approximate", [False, True])
def test_mean_and_variance_per_channel_are_frozen_because_zeros_give_no_number(approximate):
    model = net("n = MeanVarianceNormalization<axes=[0,2,3]>(a)")
    item = analysed(model, approximate=approximate)
    assert sizes(item) == []
    assert "divides by a spread of zero on masked channels" in item.reasons("conv_0")
    zeros = {"x": np.zeros((1, 3, 6, 6), dtype=np.float32)}
    assert np.isnan(answers(model, zeros)["y"]).all()


@pytest.mark.parametrize("axes", ["0,2,3", "1,2,3", "1", "-1"])
def test_mean_and_variance_give_onnxruntimes_outputs(axes):
    assert_counterpart(net(f"n = MeanVarianceNormalization<axes=[{axes}]>(a)"), tolerance=1e-4)
