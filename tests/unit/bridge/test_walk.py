"""A graph run step by step over several batches."""

from __future__ import annotations

import numpy as np
import pytest
from bridging import answers, convnet, gap, images

from onnxprune.bridge.walk import Walk, peak_bytes
from onnxprune.core.errors import InternalError
from onnxprune.graph import load_model

TOLERANCE = 1e-5


def test_walk_gives_the_outputs_of_each_batch():
    model = load_model(convnet())
    batches = [{"x": images(3)}, {"x": images(2, seed=1)}]
    walk = Walk(model, batches)
    walk.finish()
    for (found,), batch in zip(walk.outputs(), batches, strict=True):
        assert gap(found.numpy(), answers(model, batch)["y"]) < TOLERANCE


def test_assigned_value_reaches_the_nodes_ahead_and_no_model():
    model = load_model(convnet())
    walk = Walk(model, [{"x": images(3)}])
    walk.before("y")
    walk.assign("bf", model.read("bf") + 1)
    walk.assign("w1", model.read("w1") * 0)  # its node was run already
    walk.finish()
    assert gap(walk.outputs()[0][0].numpy(), answers(model, {"x": images(3)})["y"] + 1) < TOLERANCE


def test_walk_stops_before_and_behind_a_node():
    walk = Walk(load_model(convnet()), [{"x": images(2)}])
    walk.before("d")
    assert walk.tensors("r")[0].shape == (2, 8, 8, 8)
    with pytest.raises(InternalError, match="'d' is not live"):
        walk.tensors("d")
    walk.through("d")
    assert walk.tensors("d")[0].shape == (2, 8, 8, 8)


def test_tensor_is_let_go_unless_it_is_kept():
    walk = Walk(load_model(convnet()), [{"x": images(2)}], keep=["a"])
    walk.through("s")
    assert walk.tensors("a")
    walk.drop("a")
    for gone in ("a", "x"):
        with pytest.raises(InternalError, match="not live"):
            walk.tensors(gone)


def test_peak_is_that_of_the_widest_place():
    # the input of 3 channels and a of 8; then a and r, r and d, d with r and s: three of 8 channels
    assert peak_bytes(load_model(convnet()), {"x": images(2)}) == 3 * 2 * 8 * 8 * 8 * 4


def test_unknown_tensor_is_an_internal_error():
    with pytest.raises(InternalError, match="no tensor 'nope'"):
        Walk(load_model(convnet()), [{"x": images(2)}]).through("nope")


def test_walk_does_not_change_the_batches():
    x = images(2)
    before = np.array(x)
    Walk(load_model(convnet()), [{"x": x}]).finish()
    assert np.array_equal(x, before)
