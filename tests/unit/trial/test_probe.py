"""Gradients at the gates, against what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bridging import convnet, images
from graphs import model_of
from pruning import analysed

from onnxprune.bridge import to_torch
from onnxprune.core.errors import UsageError
from onnxprune.train import open_data
from onnxprune.trial.probe import Probe

LINEAR = """g (float[N,4] x, float[4,6] w1, float[6,5] w2) => (float[N,5] y) {
  h = MatMul(x, w1)
  r = Relu(h)
  y = MatMul(r, w2)
}"""


def probe_of(proto, arrays, *, samples=1024, seed=0):
    item = analysed(proto)
    data = open_data(arrays, item.model.inputs(), outputs=item.model.outputs())
    return item, Probe(item.model, item.analysis, data, samples=samples, seed=seed)


@pytest.mark.slow
def test_draws_average_to_the_curvature_of_the_divergence():
    x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    item, probe = probe_of(model_of(LINEAR), {"x": x})
    module = to_torch(item.model)
    w1, w2 = (dict(module.named_parameters())[name].detach() for name in ("w1", "w2"))
    hidden = torch.relu(torch.from_numpy(x) @ w1)

    def divergence(mask: torch.Tensor) -> torch.Tensor:
        before, after = F.log_softmax(hidden @ w2, 1), F.log_softmax((hidden * mask) @ w2, 1)
        return (before.exp() * (before - after)).sum(1).mean()

    hessian = torch.autograd.functional.hessian(divergence, torch.ones(6)).numpy()
    rows = np.concatenate(
        [next(iter(Probe(item.model, item.analysis, probe._data, seed=seed).draws.values())) for seed in range(150)]
    )
    found = rows.T @ rows / len(rows)
    assert np.abs(found - hessian).max() < 0.12 * np.abs(hessian).max()


def test_draws_of_values_are_in_units_of_their_variance():
    proto = model_of(LINEAR.replace("float[N,5] y", "float[N,1] y").replace("float[6,5] w2", "float[6,1] w2"))
    x = np.random.default_rng(0).standard_normal((800, 4)).astype(np.float32)
    item, probe = probe_of(proto, {"x": x})
    scaled = item.model.copy()
    scaled.replace("w2", 1000 * np.asarray(scaled.read("w2")))
    other = Probe(scaled, item.analysis, probe._data)
    (group,) = probe.draws
    np.testing.assert_allclose(other.draws[group], probe.draws[group], rtol=1e-3, atol=1e-6)
    energy = np.square(probe.draws[group]).mean(0)
    assert 0.05 < energy.sum() < 50


def test_losses_of_entries_are_squares_of_what_the_draws_say_of_them():
    _, probe = probe_of(convnet(), {"x": images(32)}, samples=8)
    names = [name for name, p in probe.module.named_parameters() if p.dim() > 1]
    found = probe.entry_losses(dict.fromkeys(names, ()))
    (fed,) = probe._batches()
    outputs = tuple(t for t in [probe.module(fed.inputs["x"])])
    value = probe._draw()(fed, outputs)
    parameters = dict(probe.module.named_parameters())
    for name in names:
        (grad,) = torch.autograd.grad(value, [parameters[name]], retain_graph=True)
        expected = 0.5 * (grad * parameters[name]).double().square().detach().numpy()
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-15)
        assert found[name].any()


def test_entries_that_go_together_are_summed_before_they_are_squared():
    _, probe = probe_of(convnet(), {"x": images(32)}, samples=8)
    names = [name for name, p in probe.module.named_parameters() if p.dim() == 4]
    found = probe.entry_losses(dict.fromkeys(names, (-2, -1)))
    (fed,) = probe._batches()
    value = probe._draw()(fed, (probe.module(fed.inputs["x"]),))
    parameters = dict(probe.module.named_parameters())
    for name in names:
        (grad,) = torch.autograd.grad(value, [parameters[name]], retain_graph=True)
        change = (grad * parameters[name]).double().sum((-2, -1), keepdim=True)
        np.testing.assert_allclose(found[name], 0.5 * change.square().detach().numpy(), rtol=1e-4, atol=1e-12)


def test_an_entry_of_zero_costs_nothing():
    _, probe = probe_of(convnet(), {"x": images(32)})
    name = next(name for name, p in probe.module.named_parameters() if p.dim() > 1)
    with torch.no_grad():
        dict(probe.module.named_parameters())[name][0].zero_()
    assert not probe.entry_losses({name: ()})[name][0].any()


def test_slopes_are_those_of_the_labels_loss():
    rng = np.random.default_rng(1)
    x, labels = images(32), rng.integers(0, 5, 32)
    item, probe = probe_of(convnet(), {"x": x, "labels": labels}, samples=8)
    module = to_torch(item.model).eval()
    (batch,) = probe._batches()
    wide, step = to_torch(item.model).double().eval(), 1e-6
    for name, rows in probe.slopes.items():
        assert rows.shape == (1, item.analysis.sizes[name])
        for channel in range(item.analysis.sizes[name]):
            losses = []
            for sign in (1, -1):
                mask = torch.ones(item.analysis.sizes[name], dtype=torch.float64)
                mask[channel] += sign * step
                values = probe.gates.values(wide, {name: mask})
                out = wide.call_with(values, {"x": batch.inputs["x"].double()})
                losses.append(F.cross_entropy(out, batch.labels).item())
            slope = (losses[0] - losses[1]) / (2 * step)
            assert rows[0, channel] == pytest.approx(slope, rel=1e-3, abs=1e-5)
    assert module.training is False


def test_slopes_ask_for_labels():
    _, probe = probe_of(convnet(), {"x": images(16)})
    with pytest.raises(UsageError, match="no labels"):
        _ = probe.slopes


def test_the_same_seed_draws_the_same():
    rows = [probe_of(convnet(), {"x": images(64)}, seed=seed)[1].draws for seed in (5, 5, 6)]
    for name in rows[0]:
        np.testing.assert_array_equal(rows[0][name], rows[1][name])
        assert not np.array_equal(rows[0][name], rows[2][name])


def test_a_model_that_takes_three_samples_only_is_given_three():
    proto = model_of(
        LINEAR.replace("N,", "3,")
        .replace("r = Relu(h)", "r0 = Relu(h)\n  r = Reshape(r0, shape)")
        .replace("float[6,5] w2)", "float[6,5] w2, int64[2] shape)")
    )
    for tensor in proto.graph.initializer:
        if tensor.name == "shape":
            tensor.ClearField("float_data")
            tensor.raw_data = np.array([3, 6], np.int64).tobytes()
            tensor.data_type = 7
    x = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    item, probe = probe_of(proto, {"x": x})
    if item.analysis.groups:
        assert all(len(rows) == 3 for rows in probe.draws.values())
