"""Geometric-median distances on filters that can be worked out by hand."""

from __future__ import annotations

import numpy as np

from onnxprune.core.group import Group, Member
from onnxprune.criteria import ScoreContext
from onnxprune.criteria.fpgm import Fpgm


def score(weights: dict[str, np.ndarray], axis: int = 0, labels: np.ndarray | None = None, size: int = 4) -> np.ndarray:
    members = tuple(Member(name, axis, "producer", "Conv", f"node {name}", 1) for name in weights)
    context = ScoreContext(
        (Group("g", size, members),), weights.__getitem__, lambda *_: np.arange(size) if labels is None else labels
    )
    return Fpgm().score(context).values["g"]


def test_the_filter_in_the_middle_goes_first_whatever_its_norm():
    line = np.array([[10.0, 0.0], [11.0, 0.0], [13.0, 0.0], [20.0, 0.0]])
    # sums of distances: 14, 12, 12, 26; norms would have said that 10 goes first
    np.testing.assert_allclose(score({"w": line}), np.array([14, 12, 12, 26]) / 16)


def test_a_transposed_weight_is_read_along_its_axis():
    rows = np.random.default_rng(0).standard_normal((4, 7))
    np.testing.assert_allclose(score({"w": rows.T.copy()}, axis=1), score({"w": rows}))


def test_several_weights_are_pooled_and_their_scale_does_not_count():
    first, second = np.random.default_rng(0).standard_normal((2, 4, 5))
    alone = [score({"w": each}) for each in (first, second)]
    np.testing.assert_allclose(score({"a": first, "b": 1e6 * second}), np.mean(alone, axis=0))


def test_all_positions_of_a_channel_count():
    rows = np.random.default_rng(0).standard_normal((8, 3))
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    np.testing.assert_allclose(score({"w": rows}, labels=labels), score({"w": np.concatenate([rows[:4], rows[4:]], 1)}))
