from __future__ import annotations

import numpy as np

from onnxprune.core.group import Group, Member
from onnxprune.criteria import CRITERIA, ScoreContext

WEIGHTS = {
    "w": np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]], np.float32),
    "gamma": np.array([-4.0, 1.0, 1.0], np.float32),
    "beta": np.array([9.0, 9.0, 0.0], np.float32),
    "gamma2": np.array([0.0, 3.0, 0.0], np.float32),
}


def normalisation(initializer: str, slot: int) -> Member:
    return Member(initializer, 0, "vector", "BatchNormalization", "bn", slot)


def score(*members: Member) -> tuple[np.ndarray, tuple[str, ...]]:
    weight = Member("w", 0, "producer", "Conv", "conv", 1)
    context = ScoreContext((Group("g", 3, (weight, *members)),), WEIGHTS.__getitem__, lambda _, m: np.arange(3))
    found = CRITERIA.get("bn_scale")().score(context)
    return found.values["g"], found.notes


def test_score_is_the_size_of_gamma_whatever_its_sign_and_beta():
    values, notes = score(normalisation("gamma", 1), normalisation("beta", 2))
    np.testing.assert_allclose(values, [2.0, 0.5, 0.5])
    assert notes == ()


def test_scales_are_pooled_when_a_group_passes_two_normalisations():
    values, _ = score(normalisation("gamma", 1), normalisation("gamma2", 1))
    expected = np.sqrt((np.array([16, 1, 1]) / 6 + np.array([0, 9, 0]) / 3) / 2)
    np.testing.assert_allclose(values, expected / expected.mean())


def test_magnitude_serves_with_a_note_when_there_is_no_normalisation():
    values, notes = score(Member("gamma", 0, "vector", "Mul", "scale", 1))
    np.testing.assert_allclose(values, [0.5, 1.0, 1.5])
    assert notes == ("g passes no BatchNormalization (exporters often fold it): its channels are scored by magnitude.",)
