"""GridSample, AffineGrid, RoiAlign and NonMaxSuppression: channels go through, positions stay."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error, with_constants

TOLERANCE = 1e-5

WARP = """g (float[N,3,7,7] x, float[N,2,3] theta, float[8,3,3,3] w1, float[8] b1, int64[4] size, float[4,8,1,1] w2)
=> (float[N,4,4,4] y) {{
  a = Conv(x, w1, b1)
  r = Relu(a)
  s = Shape<end=1>(x)
  all = Concat<axis=0>(s, size)
  grid = AffineGrid(theta, all)
  p = GridSample<mode="{mode}", padding_mode="{padding}", align_corners={corners}>(r, grid)
  y = Conv(p, w2)
}}""".replace("int64[4] size", "int64[3] size")


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize(("padding", "corners"), [("zeros", 0), ("border", 1), ("reflection", 0)])
def test_warped_channels_go(mode, padding, corners):
    text = WARP.format(mode=mode, padding=padding, corners=corners)
    model = model_of(text, data=("x", "theta", "size"), opset=20)
    model.ir_version = 9
    model = with_constants(model, {"size": np.array([8, 4, 4])})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model) < 10 * TOLERANCE


DETECT = """g (float[2,3,16,16] x, float[8,3,3,3] w1, float[5,4] boxes, int64[5] images, float[4,8,1,1] w2)
=> (float[5,4,3,2] y) {{
  a = Conv(x, w1)
  r = Relu(a)
  p = RoiAlign<output_height=3, output_width=2, spatial_scale=0.5{attributes}>(r, boxes, images)
  y = Conv(p, w2)
}}"""
BOXES = np.array([[0, 0, 20, 20], [4, 6, 30, 12], [-5, 2, 9, 27], [8, 8, 8.5, 8.5], [20, 1, 50, 40]], dtype=np.float32)


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        ", sampling_ratio=2",
        ', mode="max", sampling_ratio=2',
        ', coordinate_transformation_mode="output_half_pixel"',
    ],
)
def test_pooled_regions_lose_channels(attributes):
    model = model_of(DETECT.format(attributes=attributes), data=("x", "boxes", "images"))
    model = with_constants(model, {"boxes": BOXES, "images": np.array([0, 1, 0, 1, 1])})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model) < TOLERANCE


def test_boxes_and_scores_stay_and_the_layer_before_is_free():
    text = """g (float[1,6,5] x, float[5,8] w1, float[8,4] wb, float[8,3] ws, int64 most, float overlap)
    => (int64[S,3] y) {
      a = MatMul(x, w1)
      h = Relu(a)
      boxes = MatMul(h, wb)
      z = MatMul(h, ws)
      scores = Transpose<perm=[0,2,1]>(z)
      y = NonMaxSuppression(boxes, scores, most, overlap)
    }"""
    model = model_of(text, data=("x", "most", "overlap"))
    model = with_constants(model, {"most": np.array(3), "overlap": np.array(0.3, dtype=np.float32)})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert "NonMaxSuppression 'nonmaxsuppression_5' ranks boxes along this axis" in item.reasons("matmul_2")
    assert disagreement(item, random_plan(item.analysis), batches=(1,)) < TOLERANCE
    assert twin_error(model) == 0
