"""BatchNormalization lent to convolutions and folded back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
import torch
from bridging import answers, convnet, gap, images
from graphs import model_of

from onnxprune.bridge import (
    BatchNorm,
    batchnorm_obstacle,
    fold_batchnorm,
    insert_batchnorm,
    moments,
    reestimate,
    to_torch,
    write_back,
)
from onnxprune.bridge.filters import filter_norms, scaled_filters
from onnxprune.core.errors import DataError, ModelError
from onnxprune.graph import Model, load_model

TOLERANCE = 1e-5


def _random_norm(channels: int, seed: int) -> BatchNorm:
    rng = np.random.default_rng(seed)
    return BatchNorm(*(rng.uniform(0.5, 2, channels) for _ in range(4)))


def _folded_gap(model: Model, norms: dict[str, BatchNorm], feeds: dict[str, np.ndarray]) -> float:
    lent = insert_batchnorm(model, norms)
    onnx.checker.check_model(lent.to_proto())
    folded = fold_batchnorm(lent)
    onnx.checker.check_model(folded.to_proto())
    expected, found = answers(lent, feeds), answers(folded, feeds)
    assert all(gap(expected[n], answers(model, feeds)[n]) > 1e-2 for n in expected)
    assert [node.name for node in folded.nodes] == [node.name for node in model.nodes]
    assert [t.name for node in folded.nodes for t in node.outputs] == [t.name for n in model.nodes for t in n.outputs]
    return max(gap(found[n], expected[n]) for n in expected)


def test_folding_keeps_the_function_and_the_names():
    model = load_model(convnet())
    norms = {"a": _random_norm(8, 0), "conv_2": _random_norm(8, 1), "c": _random_norm(12, 2), "h": _random_norm(12, 3)}
    assert _folded_gap(model, norms, {"x": images(3)}) < TOLERANCE


def test_folding_adds_a_bias_only_where_one_is_missing():
    model = load_model(convnet())
    folded = fold_batchnorm(insert_batchnorm(model, {"a": _random_norm(8, 0), "c": _random_norm(12, 1)}))
    assert set(folded.initializers()) - set(model.initializers()) == {"c__bias"}


def test_filters_of_one_norm_leave_the_function_as_it_is():
    model = load_model(convnet())
    norms = {"a": _random_norm(8, 0), "conv_2": _random_norm(8, 1), "c": _random_norm(12, 2)}
    norms["a"] = replace(norms["a"], var=np.full(8, 1e-7))  # far below ε
    plain, rescaled = insert_batchnorm(model, norms), insert_batchnorm(model, norms, filter_norm=0.5)
    feeds = {"x": images(3)}
    expected, found = answers(plain, feeds), answers(rescaled, feeds)
    assert max(gap(found[name], expected[name]) for name in expected) < TOLERANCE
    for node in rescaled.nodes:
        if node.outputs[0].name in ("a__bn_input", "c__bn_input"):
            np.testing.assert_allclose(filter_norms(node, rescaled.read(node.inputs[1].name)), 0.5, rtol=1e-6)


def test_a_filter_of_zeros_stays_one_and_a_bias_of_two_is_left_alone():
    model = load_model(
        model_of(
            """g (float[2, 3, 4, 4] x, float[5, 3, 1, 1] w1, float[5, 3, 1, 1] w2, float[5, 3, 1, 1] w3, float[5] b)
            => (float[2, 5, 4, 4] y1, float[2, 5, 4, 4] y2, float[2, 5, 4, 4] y3)
            { y1 = Conv(x, w1, b) y2 = Conv(x, w2, b) y3 = Conv(x, w3) }"""
        )
    )
    model.replace("w3", np.eye(5, 3, dtype=np.float32)[:, :, None, None])
    lent = insert_batchnorm(model, {f"y{i}": _random_norm(5, i) for i in (1, 2, 3)}, filter_norm=0.25)
    for shared in ("w1", "w2", "b"):
        np.testing.assert_array_equal(lent.read(shared), model.read(shared))
    np.testing.assert_array_equal(lent.read("w3"), 0.25 * np.asarray(model.read("w3")))


@pytest.mark.parametrize("group", [1, 2])
def test_norms_of_transposed_filters_run_over_the_inputs_of_their_group(group):
    weight = np.random.default_rng(group).normal(size=(4, 3, 2, 2))
    node = gs.Node("ConvTranspose", attrs={"group": group})
    norms = filter_norms(node, weight)
    assert norms.shape == (3 * group,)
    for g in range(group):
        for out in range(3):
            own = weight[4 // group * g : 4 // group * (g + 1), out]
            assert norms[3 * g + out] == pytest.approx(np.linalg.norm(own))
    np.testing.assert_allclose(filter_norms(node, scaled_filters(node, weight, 1 / norms)), 1.0)


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolution_folds_along_its_output_channels(group):
    model = load_model(
        model_of(
            f"""g (float[N,4,5,5] x, float[4,{6 // group},3,3] w, float[6] b) => (float[N,6,11,11] y) {{
              y = ConvTranspose<group={group}, strides=[2,2]>(x, w, b)
            }}"""
        )
    )
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32)
    assert _folded_gap(model, {"y": _random_norm(6, 0)}, {"x": x}) < TOLERANCE


def test_bias_that_others_read_is_not_changed_under_them():
    model = load_model(
        model_of(
            """g (float[N,3,4,4] x, float[6,3,1,1] w1, float[6,3,1,1] w2, float[6] b)
               => (float[N,6,4,4] y, float[N,6,4,4] z) {
              y = Conv(x, w1, b)
              z = Conv(x, w2, b)
            }"""
        )
    )
    x = images(2)[:, :, :4, :4]
    lent = insert_batchnorm(model, {"y": _random_norm(6, 0)})
    folded = fold_batchnorm(lent)
    assert gap(answers(folded, {"x": x})["y"], answers(lent, {"x": x})["y"]) < TOLERANCE
    assert np.array_equal(answers(folded, {"x": x})["z"], answers(model, {"x": x})["z"])


def test_normalisation_that_was_in_the_file_is_left_alone():
    model = load_model(
        model_of(
            """g (float[N,3,4,4] x, float[6,3,1,1] w, float[6] s, float[6] b, float[6] m, float[6] v)
               => (float[N,6,4,4] y) {
              c = Conv(x, w)
              y = BatchNormalization(c, s, b, m, v)
            }"""
        )
    )
    assert "followed by" in batchnorm_obstacle(model, model.nodes[0])
    with pytest.raises(ModelError, match="followed by"):
        insert_batchnorm(model, {"c": _random_norm(6, 0)})
    assert [n.op for n in fold_batchnorm(model).nodes] == ["Conv", "BatchNormalization"]


def test_obstacles_are_told():
    model = load_model(
        model_of(
            """g (float[N,6,4,4] x, float[6,6,1,1] w, float[1,1] k) => (float[N,6,4,4] y) {
              a = Conv(x, w)
              b = Conv(a, w)
              d = Mul(w, k)
              e = Conv(b, d)
              y = Relu(e)
            }"""
        )
    )
    first, _, _, computed, relu = model.nodes
    assert "shares its weight 'w'" in batchnorm_obstacle(model, first)
    assert "at run time" in batchnorm_obstacle(model, computed)
    assert "not a convolution" in batchnorm_obstacle(model, relu)
    with pytest.raises(ModelError, match="no convolution called 'nope'"):
        insert_batchnorm(model, {"nope": _random_norm(6, 0)})


def test_vector_of_the_wrong_length_is_refused():
    with pytest.raises(ModelError, match=r"8 output channels.*shape \(7,\)"):
        insert_batchnorm(load_model(convnet()), {"a": _random_norm(7, 0)})


def test_matching_moments_start_as_the_identity():
    model = load_model(convnet())
    x = images(64)
    found = moments(to_torch(model), ["a", "c"], [{"x": x}])
    lent = insert_batchnorm(model, {name: BatchNorm.matching(*m) for name, m in found.items()})
    assert gap(answers(lent, {"x": x})["y"], answers(model, {"x": x})["y"]) < TOLERANCE


def test_moments_over_batches_equal_those_of_all_samples():
    module = to_torch(convnet()).train()
    x = images(50)
    with torch.no_grad(), module.record(["c"]) as tape:
        module(torch.from_numpy(x))
    whole = tape["c"].double().numpy()
    mean, var = moments(module, ["c"], [{"x": x[:7]}, {"x": x[7:8]}, {"x": x[8:]}])["c"]
    assert mean.dtype == np.float64
    assert np.allclose(mean, whole.mean((0, 2, 3)), atol=1e-7)
    assert np.allclose(var, whole.var((0, 2, 3)), atol=1e-7)
    assert module.training


def test_moment_matching_restores_mean_and_deviation_of_a_damaged_net():
    model = load_model(convnet())
    x = images(256)
    names = ["a", "d", "c", "h"]
    aim = moments(to_torch(model), names, [{"x": x}])
    damaged = model.copy()
    for name in ("w1", "wd", "w2", "w3"):
        rng = np.random.default_rng(5)
        damaged.replace(name, (damaged.read(name) * rng.uniform(0, 2, damaged.read(name).shape)).astype(np.float32))
    lent = insert_batchnorm(damaged, {name: BatchNorm.matching(*m) for name, m in aim.items()})
    module = to_torch(lent)
    reestimate(module, [{"x": x}])
    write_back(module, lent)
    found = moments(to_torch(lent), names, [{"x": x}])
    for name in names:
        assert np.allclose(found[name][0], aim[name][0], atol=1e-4)
        assert np.allclose(np.sqrt(found[name][1]), np.sqrt(aim[name][1]), atol=1e-3)
    folded = fold_batchnorm(lent)
    assert gap(answers(folded, {"x": x})["y"], answers(lent, {"x": x})["y"]) < TOLERANCE


def test_reestimation_forgets_what_was_stored():
    lent = insert_batchnorm(load_model(convnet()), {"a": _random_norm(8, 0)})
    module = to_torch(lent)
    x = images(40)
    reestimate(module, [{"x": x[:10]}, {"x": x[10:]}])
    with torch.no_grad(), module.record(["a__bn_input"]) as tape:
        module(torch.from_numpy(x))
    buffers = dict(module.named_buffers())
    assert torch.allclose(buffers["a__bn_mean"], tape["a__bn_input"].mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(buffers["a__bn_var"], tape["a__bn_input"].var((0, 2, 3), correction=0), atol=1e-5)
    assert not module.training


def test_reestimation_reaches_a_normalisation_of_the_input():
    text = """g (float[N,3,8,8] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[N,3,8,8] y) {
      y = BatchNormalization(x, s, b, m, v)
    }"""
    module = to_torch(model_of(text))
    x = images(20)
    reestimate(module, [{"x": x}])
    assert np.allclose(dict(module.named_buffers())["m"].numpy(), x.mean((0, 2, 3)), atol=1e-6)


def test_no_batches_is_a_data_error():
    module = to_torch(insert_batchnorm(load_model(convnet()), {"a": _random_norm(8, 0)}))
    for call in (lambda: reestimate(module, []), lambda: moments(module, ["a"], [])):
        with pytest.raises(DataError, match="no calibration batch"):
            call()
