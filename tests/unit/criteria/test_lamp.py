"""Layer-adaptive magnitudes on energies that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.group import Group, Member
from onnxprune.criteria import ScoreContext
from onnxprune.criteria.lamp import Lamp


def score(weights: np.ndarray) -> np.ndarray:
    group = Group("g", len(weights), (Member("w", 0, "producer", "Conv", "node", 1),))
    return Lamp().score(ScoreContext((group,), lambda _: weights, lambda *_: np.arange(len(weights)))).values["g"]


def test_energy_over_that_of_all_at_least_as_strong():
    found = score(np.sqrt([[4.0], [1.0], [3.0], [2.0]]))
    np.testing.assert_allclose(found, [4 / 4, 1 / 10, 3 / 7, 2 / 9])


def test_equal_energies_score_alike():
    found = score(np.ones((4, 3)))
    np.testing.assert_allclose(found, 0.25)


def test_the_strongest_scores_one_at_any_scale():
    for scale in (1e-20, 1.0, 1e15):
        assert score(scale * np.random.default_rng(0).standard_normal((9, 4))).max() == pytest.approx(1.0)
