"""Keep probabilities: their mean, their gradient, their limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onnxprune.trial.keep import Importance


def importance(seed: int = 0) -> Importance:
    rng = np.random.default_rng(seed)
    return Importance({f"g{size}": rng.lognormal(0.0, 1.0, size) for size in (64, 5, 17, 1)})


@pytest.mark.parametrize("steepness", [0.1, 1.0, 4.0, 20.0, 200.0])
def test_the_mean_probability_is_the_ratio(steepness):
    ratios = torch.tensor([0.02, 0.5, 0.97, 0.6], dtype=torch.float64)
    found = importance().probabilities(ratios, steepness)
    for ratio, p in zip(ratios, found.values(), strict=True):
        assert p.mean().item() == pytest.approx(ratio.item(), abs=1e-6)
        assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("steepness", [0.5, 1.0, 4.0, 20.0])
def test_the_gradient_is_that_of_finite_differences(steepness):
    weights = {name: torch.randn(size, dtype=torch.float64) for name, size in importance().sizes.items()}

    def loss(ratios: torch.Tensor) -> torch.Tensor:
        found = importance().probabilities(ratios, steepness)
        return torch.stack([(weights[name] * torch.sin(3 * p)).sum() for name, p in found.items()]).sum()

    ratios = torch.tensor([0.3, 0.5, 0.8, 0.4], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(ratios), ratios)
    for index in range(len(ratios)):
        step = torch.zeros(len(ratios), dtype=torch.float64)
        step[index] = 1e-6
        with torch.no_grad():
            expected = (loss(ratios + step) - loss(ratios - step)) / 2e-6
        assert slope[index].item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)


def test_a_steep_threshold_keeps_the_most_important():
    values = np.random.default_rng(1).permutation(np.linspace(1, 2, 40))
    p = Importance({"g": values}).probabilities(torch.tensor([0.25], dtype=torch.float64), 1e5)["g"].numpy()
    best = np.argsort(-values)[:10]
    assert set(np.flatnonzero(p > 0.5)) == set(best)
    assert p.sum() == pytest.approx(10, abs=1e-5)
    assert ((p < 1e-6) | (p > 1 - 1e-6)).all()


def test_equal_or_zero_importances_share_alike():
    for values in (np.zeros(8), np.full(8, 3e-20), np.ones(8)):
        p = Importance({"g": values}).probabilities(torch.tensor([0.4], dtype=torch.float64), 5.0)["g"]
        np.testing.assert_allclose(p.numpy(), 0.4, atol=1e-9)


def test_all_channels_are_kept_at_ratio_one():
    p = importance().probabilities(torch.ones(4, dtype=torch.float64), 1.0)
    assert min(each.min().item() for each in p.values()) > 1 - 1e-6
