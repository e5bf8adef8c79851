"""The learning rate over a run."""

from __future__ import annotations

import itertools

import pytest

from onnxprune.train.schedule import learning_rate


def test_rises_to_the_peak_and_falls_towards_zero():
    rates = [learning_rate(step, 100, 0.4, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(0.4) == rates[9] == rates[10]
    assert rates[55] == pytest.approx(0.2)
    assert rates[99] == pytest.approx(0.4 / 90)
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (2, 0.5), (3, 1.0)])
def test_short_runs_stay_within_the_peak(steps, warmup):
    rates = [learning_rate(step, steps, 1.0, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1
