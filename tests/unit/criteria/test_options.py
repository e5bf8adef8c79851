"""How weights of one group are gathered, and how groups are made to compare."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from onnxprune.core.group import Group, Member
from onnxprune.criteria import CRITERIA, ScoreContext, Scores
from onnxprune.criteria.compare import comparable

W1 = np.array([[3.0, 4.0], [0.0, 0.0], [-5.0, 12.0]], dtype=np.float32)
W2 = 1000 * np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], dtype=np.float32)
WEIGHTS = {"w1": W1, "w2": W2}


def member(initializer: str, axis: int) -> Member:
    return Member(initializer, axis, "producer", "Conv", initializer, 1)


def score(name: str = "magnitude", **options: str) -> np.ndarray:
    group = Group("g", 3, (member("w1", 0), member("w2", 1)))
    context = ScoreContext((group,), WEIGHTS.__getitem__, lambda *_: np.arange(3), **options)
    return CRITERIA.get(name)().score(context).values["g"]


def relative(values: np.ndarray) -> np.ndarray:
    return values / values.mean()


def test_l1_adds_magnitudes():
    shares = (np.array([7.0, 0, 17]) / 8 + 1) / 2
    np.testing.assert_allclose(score("magnitude_l1"), relative(shares))


def test_the_maximum_hears_the_loudest_share_of_each_channel():
    energy = np.array([25.0, 0, 169])
    np.testing.assert_allclose(score(reduce="max"), relative(np.sqrt(np.maximum(3 * energy / energy.sum(), 1))))


def test_a_sum_lets_large_weights_speak_louder():
    energy = np.array([25.0, 0, 169]) + 2e6
    np.testing.assert_allclose(score(reduce="sum"), relative(np.sqrt(energy)))


def test_norms_stay_norms_where_nothing_is_normalised():
    energy = np.array([25.0, 0, 169]) + 2e6
    np.testing.assert_allclose(score(reduce="sum", normalize="none"), np.sqrt(energy))


LOUD, QUIET = np.array([10.0, 20.0, 60.0, -1.0]), np.array([0.1, 0.1, 0.4])


@pytest.mark.parametrize(
    ("way", "unit", "expected"),
    [
        ("auto", "loss", LOUD),
        ("mean", "share", np.array([1 / 3, 2 / 3, 2, -1])),
        ("max", "rank", np.array([1 / 6, 1 / 3, 1, -1])),
        ("gaussian", "rank", np.append(norm.cdf((LOUD[:3] - 30) / LOUD[:3].std()), -1)),
        ("none", "rank", LOUD),
    ],
)
def test_groups_compare_in_five_ways(way, unit, expected):
    given = Scores({"loud": LOUD.copy(), "quiet": QUIET.copy()}, unit="loss")
    found = comparable(given, way)
    assert found.unit == unit
    np.testing.assert_allclose(found.values["loud"], expected)
    np.testing.assert_array_equal(given.values["loud"], LOUD)
    # the order within a group stays
    assert (np.argsort(found.values["quiet"], kind="stable") == [0, 1, 2]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("way", ["mean", "max", "gaussian", "none"])
@pytest.mark.parametrize("values", [[0.0, 0.0], [2.0, 2.0], [1e-300, 2e-300], [1e300, 1e-300]])
def test_scores_stay_finite_whatever_they_are(way, values):
    found = comparable(Scores({"g": np.array(values)}), way).values["g"]
    assert np.isfinite(found).all()
    assert (found >= 0).all()
