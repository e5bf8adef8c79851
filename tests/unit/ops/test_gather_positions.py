"""Gather with constant positions: runs, shuffles, strides, repeats, rolls, tables."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error, with_constants

from onnxprune.axes import Atom
from onnxprune.ops.gather_positions import picked

TOLERANCE = 1e-5


def gathered(positions, activation="Sigmoid"):
    """Returns a network that takes `positions` of 16 channels."""
    index = np.array(positions)
    shape = ",".join(map(str, index.shape))
    text = f"""g (float[N,3,6,6] x, float[16,3,1,1] w1, float[16] b1, int64[{shape}] index,
       float[4,{index.size},3,3] w2) => (float[N,4,4,4] y) {{
      a = Conv(x, w1, b1)
      r = {activation}(a)
      g = Gather<axis=1>(r, index)
      y = Conv(g, w2)
    }}"""
    return with_constants(model_of(text, data=("x", "index")), {"index": index})


STRUCTURED = {
    "a run": (range(4, 10), [4, 6, 6]),
    "the whole axis": (range(16), [16]),
    "one position": ([5], [5, 10]),
    "from the end": ([-3, -2, -1], [3, 13]),
    "a shuffle": (np.arange(16).reshape(2, 8).T.reshape(-1), [2, 8]),
    "a shuffle of four": (np.arange(16).reshape(4, 4).T.reshape(-1), [4, 4]),
    "every second": (range(1, 16, 2), [8]),
    "halves swapped": ([*range(8, 16), *range(8)], [8, 8]),
    "each one twice": (np.repeat(np.arange(16), 2), [16]),
    "the whole axis twice": ([*range(16), *range(16)], [16]),
    "a part left out": ([*range(5), *range(9, 16)], [4, 5, 7]),
}


@pytest.mark.parametrize(("positions", "sizes"), STRUCTURED.values(), ids=STRUCTURED.keys())
def test_channels_behind_structured_positions_go(positions, sizes):
    item = analysed(gathered(list(positions)))
    assert sorted(g.size for g in item.analysis.groups) == sizes
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


@pytest.mark.parametrize(("positions", "sizes"), STRUCTURED.values(), ids=STRUCTURED.keys())
def test_twin_equals_the_runtime(positions, sizes):
    assert sizes
    assert twin_error(gathered(list(positions))) < TOLERANCE


def test_permutation_without_structure_is_frozen_with_the_reason():
    item = analysed(gathered([3, 0, 14, 7, 1, 15, 9, 2, 12, 5, 10, 4, 13, 6, 8, 11]))
    assert item.analysis.groups == ()
    assert "Gather 'gather_2' looks positions up along this axis" in item.reasons("conv_0")


@pytest.mark.parametrize("positions", [[3, 1, 2, 0], [0, 2, 1, 3, 1], [1, 0] * 8, []])
def test_positions_without_words_are_refused(positions):
    axis = Atom(max(positions, default=3) + 1)
    assert picked(axis, positions, "here") is None
    assert not axis.pinned
    assert axis.bound is None


def test_table_keeps_its_rows_and_loses_heads():
    text = """g (float[N,4,12] x, float[12,20] wq, float[12,20] wk, float[12,20] wv, float[20,12] wo, float[9,5] table,
       int64[4,4] index, int64[4] apart, int64[3] joined) => (float[N,4,12] y) {
      q = MatMul(x, wq)
      q4 = Reshape(q, apart)
      qh = Transpose<perm=[0,2,1,3]>(q4)
      k = MatMul(x, wk)
      k4 = Reshape(k, apart)
      kh = Transpose<perm=[0,2,3,1]>(k4)
      v = MatMul(x, wv)
      v4 = Reshape(v, apart)
      vh = Transpose<perm=[0,2,1,3]>(v4)
      s = MatMul(qh, kh)
      rows = Gather(table, index)
      bias = Transpose<perm=[2,0,1]>(rows)
      z = Add(s, bias)
      p = Softmax<axis=-1>(z)
      c = MatMul(p, vh)
      t = Transpose<perm=[0,2,1,3]>(c)
      f = Reshape(t, joined)
      y = MatMul(f, wo)
    }"""
    model = model_of(text, data=("x", "index", "apart", "joined"))
    places = np.arange(4)
    constants = {"index": np.abs(places[:, None] - places), "apart": np.array([0, 4, 5, 4])}
    item = analysed(with_constants(model, constants | {"joined": np.array([0, 4, 20])}))
    assert sorted(g.size for g in item.analysis.groups) == [4, 4, 5]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_positions_in_two_axes_are_regrouped():
    index = np.arange(16).reshape(4, 4)
    text = """g (float[N,3] x, float[3,16] w1, int64[4,4] index, float[4,5] w2) => (float[N,4,5] y) {
      a = MatMul(x, w1)
      g = Gather<axis=1>(a, index)
      y = MatMul(g, w2)
    }"""
    item = analysed(with_constants(model_of(text, data=("x", "index")), {"index": index}))
    assert [g.size for g in item.analysis.groups] == [4]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_rolled_channels_written_as_slices_lose_both_parts():
    text = """g (float[N,3,6,6] x, float[16,3,1,1] w1, int64[1] zero, int64[1] five, int64[1] end, int64[1] one,
       float[4,16,1,1] w2) => (float[N,4,6,6] y) {
      a = Conv(x, w1)
      p = Slice(a, zero, five, one)
      q = Slice(a, five, end, one)
      k = Concat<axis=1>(q, p)
      s = Sigmoid(k)
      y = Conv(s, w2)
    }"""
    model = model_of(text, data=("x", "zero", "five", "end", "one"))
    numbers = {"zero": 0, "five": 5, "end": 2**62, "one": 1}
    item = analysed(with_constants(model, {name: np.array([number]) for name, number in numbers.items()}))
    assert sorted(g.size for g in item.analysis.groups) == [5, 11]
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE
