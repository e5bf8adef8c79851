"""The same model with its channels in another order."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed

from onnxprune.core.errors import InternalError
from onnxprune.groups import reordered
from onnxprune.runtime import make_session, run

CHAIN = """g (float[N, 3, 8, 8] x,
    float[6, 3, 3, 3] a, float[6] b, float[4, 6, 1, 1] c, float[5, 64] d) => (float[N, 5] y) {
    h = Conv<pads=[1, 1, 1, 1]>(x, a, b)
    r = Relu(h)
    p = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(r)
    q = Conv(p, c)
    f = Flatten(q)
    y = Gemm<transB=1>(f, d)
}"""
NORMED = """g (float[N, 4, 8] x,
    float[8, 12] a, float[12] scale, float[12] shift, float[12, 8] b) => (float[N, 4, 8] y) {
    h = MatMul(x, a)
    n = LayerNormalization(h, scale, shift)
    y = MatMul(n, b)
}"""


def _outputs(model, feeds):
    return run(make_session(model.to_proto(), threads=1), feeds)


def test_weights_move_together_and_outputs_stay():
    item = analysed(model_of(CHAIN))
    first, second = item.group("conv_0"), item.group("conv_3")
    orders = {first: np.array([5, 3, 1, 0, 2, 4]), second: np.array([1, 0, 3, 2])}
    moved = reordered(item.model, item.analysis, orders)
    np.testing.assert_array_equal(moved.read("a"), item.model.read("a")[orders[first]])
    np.testing.assert_array_equal(moved.read("b"), item.model.read("b")[orders[first]])
    np.testing.assert_array_equal(moved.read("c"), item.model.read("c")[orders[second]][:, orders[first]])
    whole = item.model.read("d").reshape(5, 4, 16)
    np.testing.assert_array_equal(moved.read("d"), whole[:, orders[second]].reshape(5, 64))
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    np.testing.assert_allclose(_outputs(moved, feeds)["y"], _outputs(item.model, feeds)["y"], rtol=1e-5, atol=1e-6)


def test_what_only_a_statistic_ties_together_moves_too():
    item = analysed(model_of(NORMED), approximate=True)
    (name,) = item.analysis.sizes
    order = np.random.default_rng(1).permutation(12)
    moved = reordered(item.model, item.analysis, {name: order})
    np.testing.assert_array_equal(moved.read("scale"), item.model.read("scale")[order])
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 4, 8)).astype(np.float32)}
    np.testing.assert_allclose(_outputs(moved, feeds)["y"], _outputs(item.model, feeds)["y"], rtol=1e-5, atol=1e-6)


def test_the_model_itself_stays_as_it_is():
    item = analysed(model_of(CHAIN))
    before = item.model.to_proto().SerializeToString(deterministic=True)
    reordered(item.model, item.analysis, {name: np.arange(size)[::-1] for name, size in item.analysis.sizes.items()})
    assert item.model.to_proto().SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6]], ids=str)
def test_an_order_that_is_no_permutation_is_our_bug(order):
    item = analysed(model_of(CHAIN))
    with pytest.raises(InternalError, match="no permutation"):
        reordered(item.model, item.analysis, {item.group("conv_0"): np.array(order)})
