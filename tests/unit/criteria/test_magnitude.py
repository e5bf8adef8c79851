from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.group import Group, Member
from onnxprune.criteria import CRITERIA, ScoreContext
from onnxprune.criteria.pooling import channel_energy

W1 = np.array([[3.0, 4.0], [0.0, 0.0], [5.0, 12.0]], dtype=np.float32)
W2 = 1000 * np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], dtype=np.float16)
CONCAT = np.arange(1.0, 8.0, dtype=np.float64)[:, None]
WEIGHTS = {"w1": W1, "w2": W2, "cat": CONCAT, "zero": np.zeros((3, 4), np.float32)}
LABELS = {"w1": [0, 1, 2], "w2": [0, 1, 2], "cat": [0, 1, 2, -1, 0, 1, 2], "zero": [0, 1, 2]}


def member(initializer: str, axis: int, role: str = "producer") -> Member:
    return Member(initializer, axis, role, "Conv", initializer, 1)


def score(*members: Member) -> np.ndarray:
    group = Group("g", 3, members)
    return CRITERIA.get("magnitude")().score(context(group)).values["g"]


def context(group: Group) -> ScoreContext:
    return ScoreContext((group,), WEIGHTS.__getitem__, lambda _, m: np.array(LABELS[m.initializer]))


def test_energy_is_the_squared_norm_of_each_slice():
    group = Group("g", 3, (member("w1", 0),))
    assert channel_energy(context(group), group, group.members[0]).tolist() == [25.0, 0.0, 169.0]


def test_energy_sums_the_occurrences_when_an_axis_holds_a_group_twice():
    group = Group("g", 3, (member("cat", 0),))
    assert channel_energy(context(group), group, group.members[0]).tolist() == [1 + 25, 4 + 36, 9 + 49]


def test_score_is_the_norm_over_its_mean_when_there_is_one_producer():
    np.testing.assert_allclose(score(member("w1", 0)), np.array([5, 0, 13]) / 6)


def test_large_producer_speaks_no_louder_than_a_small_one():
    energy = np.array([25, 0, 169]) / (194 / 3)
    expected = np.sqrt((energy + 1) / 2)
    np.testing.assert_allclose(score(member("w1", 0), member("w2", 1)), expected / expected.mean(), rtol=1e-12)


def test_producer_is_left_out_when_all_its_weights_are_zero():
    np.testing.assert_array_equal(score(member("w1", 0), member("zero", 0)), score(member("w1", 0)))


def test_producer_counts_once_when_two_nodes_share_it():
    twice = score(member("w1", 0), Member("w1", 0, "producer", "Conv", "other", 1), member("w2", 1))
    np.testing.assert_array_equal(twice, score(member("w1", 0), member("w2", 1)))


def test_consumers_and_vectors_are_silent_when_there_is_a_producer():
    both = score(member("w1", 0), member("cat", 0, "consumer"), member("cat", 0, "vector"))
    np.testing.assert_array_equal(both, score(member("w1", 0)))


@pytest.mark.parametrize("role", ["consumer", "vector"])
def test_other_members_speak_when_there_is_no_producer(role):
    np.testing.assert_array_equal(score(member("w1", 0, role)), score(member("w1", 0)))


def test_scores_are_zero_when_all_weights_are():
    assert score(member("zero", 0)).tolist() == [0.0, 0.0, 0.0]
