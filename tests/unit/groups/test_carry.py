"""Trained weights of a slim model, back in the original's places."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, random_plan

from onnxprune.bridge.roles import tensor_roles
from onnxprune.core.errors import InternalError
from onnxprune.groups import masked_model, prune
from onnxprune.groups.carry import carried_model
from onnxprune.runtime import make_session, run

NET = """net (float["n", 3, 8, 8] x, float[16, 3, 3, 3] w1, float[16] b1, float[16] g, float[16] s, float[16] m,
    float[16] v, float[16, 16, 3, 3] w2, float[16] b2, float[5, 16] w3, float[5] b3) => (float["n", 5] y) {
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    n1 = BatchNormalization (c1, g, s, m, v)
    r1 = Relu (n1)
    c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2, b2)
    a = Add (c2, r1)
    p = GlobalAveragePool (a)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w3, b3)
}"""


def _trained(slim):
    """Returns a copy with every weight changed, as training would."""
    copy = slim.copy()
    rng = np.random.default_rng(3)
    names = [name for name, role in tensor_roles(copy).items() if role != "constant"]
    for name in names:
        value = np.array(copy.read(name))
        copy.replace(name, value + rng.uniform(0.01, 0.1, value.shape).astype(value.dtype))
    return copy, names


def test_carried_model_computes_what_the_trained_slim_model_does():
    found = analysed(model_of(NET))
    plan = random_plan(found.analysis)
    slim, names = _trained(prune(found.model, found.analysis, plan))
    carried = carried_model(found.model, found.analysis, plan, slim, names)
    x = {"x": np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)}
    expected, seen = run(make_session(slim.to_proto()), x)["y"], run(make_session(carried.to_proto()), x)["y"]
    np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)


def test_pruning_the_carried_model_again_gives_the_trained_slim_model():
    found = analysed(model_of(NET))
    plan = random_plan(found.analysis)
    slim, names = _trained(prune(found.model, found.analysis, plan))
    again = prune(carried_model(found.model, found.analysis, plan, slim, names), found.analysis, plan)
    for name in names:
        np.testing.assert_array_equal(again.read(name), slim.read(name))


def test_carried_model_can_be_masked_and_cut_further():
    found = analysed(model_of(NET))
    first = random_plan(found.analysis, share=0.8)
    slim, names = _trained(prune(found.model, found.analysis, first))
    carried = carried_model(found.model, found.analysis, first, slim, names)
    kept = {name: indices[: max(1, len(indices) // 2)] for name, indices in first.kept.items()}
    second = type(first)("", first.sizes, kept)
    x = {"x": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    masked = run(make_session(masked_model(carried, found.analysis, second).to_proto()), x)["y"]
    cut = run(make_session(prune(carried, found.analysis, second).to_proto()), x)["y"]
    np.testing.assert_allclose(cut, masked, rtol=1e-4, atol=1e-5)


def test_weights_without_a_place_are_refused():
    found = analysed(model_of(NET))
    plan = random_plan(found.analysis)
    slim = prune(found.model, found.analysis, plan)
    with pytest.raises(InternalError, match="'stranger' of the slim model has no place"):
        carried_model(found.model, found.analysis, plan, slim, ["stranger"])
