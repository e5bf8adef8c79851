"""BatchNormalization lent to convolutions and folded back."""

from __future__ import annotations

import numpy as np
import onnx
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
