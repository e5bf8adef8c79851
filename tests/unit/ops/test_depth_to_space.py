"""DepthToSpace and SpaceToDepth: channels go through, blocks stay."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error, with_constants

TOLERANCE = 1e-5

UPSCALE = """g (float[N,3,6,6] x, float[32,3,3,3] w1, float[32] b1, float[3,8,3,3] w2) => (float[N,3,P,Q] y) {{
  a = Conv<pads=[1,1,1,1]>(x, w1, b1)
  u = DepthToSpace<blocksize=2, mode="{mode}">(a)
  r = Sigmoid(u)
  y = Conv(r, w2)
}}"""
DOWNSCALE = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float[4,32,1,1] w2) => (float[N,4,3,3] y) {
  a = Conv(x, w1)
  r = Relu(a)
  d = SpaceToDepth<blocksize=2>(r)
  y = Conv(d, w2)
}"""


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_upscaling_drops_a_channel_and_all_its_pixels(mode):
    item = analysed(model_of(UPSCALE.format(mode=mode)))
    (group,) = item.analysis.groups
    assert (group.size, group.multiple) == (8, 4)
    producer = group.producers[0]
    expected = np.tile(np.arange(8), 4) if mode == "DCR" else np.repeat(np.arange(8), 4)
    assert np.array_equal(item.analysis.labels(group.name, producer), expected)
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


def test_downscaling_drops_a_channel_from_every_block():
    item = analysed(model_of(DOWNSCALE))
    (group,) = item.analysis.groups
    assert (group.size, group.multiple) == (8, 4)
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


@pytest.mark.parametrize("text", [UPSCALE.format(mode="DCR"), UPSCALE.format(mode="CRD"), DOWNSCALE])
def test_twin_equals_the_runtime(text):
    assert twin_error(model_of(text)) < TOLERANCE


def test_pixels_that_only_feed_the_output_freeze_the_channels_by_name():
    text = """g (float[N,3,6,6] x, float[12,3,1,1] w1) => (float[N,3,12,12] y) {
      a = Conv(x, w1)
      y = DepthToSpace<blocksize=2, mode="CRD">(a)
    }"""
    item = analysed(model_of(text))
    assert item.analysis.groups == ()
    assert "makes pixels of this part" in item.reasons("conv_0")
    assert "output 'y' of the model" in item.reasons("conv_0")


def test_pixel_shuffle_written_as_reshapes_is_the_same_group():
    text = """g (float[N,3,6,6] x, float[32,3,1,1] w1, float[3,8,1,1] w2, int64[6] apart, int64[4] joined)
    => (float[N,3,12,12] y) {
      a = Conv(x, w1)
      s = Reshape(a, apart)
      t = Transpose<perm=[0,1,4,2,5,3]>(s)
      u = Reshape(t, joined)
      r = Relu(u)
      y = Conv(r, w2)
    }"""
    model = model_of(text, data=("x", "apart", "joined"))
    model = with_constants(model, {"apart": np.array([-1, 8, 2, 2, 6, 6]), "joined": np.array([-1, 8, 12, 12])})
    item = analysed(model)
    (group,) = item.analysis.groups
    assert (group.size, group.multiple) == (8, 4)
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
