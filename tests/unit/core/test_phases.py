"""Budgets and epochs of pruning in phases."""

from __future__ import annotations

import itertools

import pytest

from onnxprune.core.errors import UsageError
from onnxprune.core.phases import Phase, phase_epochs, phase_share, phases_of


@pytest.mark.parametrize("iteration", ["imp", "bimp", "gmp"])
def test_shares_fall_to_the_budget_when_phases_go_on(iteration):
    shares = [phase_share(iteration, p, 5, 0.25) for p in range(1, 6)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < 1
    assert shares[-1] == pytest.approx(0.25)


def test_every_phase_takes_the_same_part_of_what_is_left_when_iterative():
    shares = [1.0] + [phase_share("imp", p, 4, 0.2) for p in range(1, 5)]
    taken = [1 - after / before for before, after in itertools.pairwise(shares)]
    assert taken == pytest.approx([1 - 0.2**0.25] * 4)


def test_cubic_curve_takes_most_early():
    shares = [1.0] + [phase_share("gmp", p, 4, 0.2) for p in range(1, 5)]
    taken = [before - after for before, after in itertools.pairwise(shares)]
    assert taken == sorted(taken, reverse=True)
    assert shares[1] == pytest.approx(1 - 0.8 * (1 - 0.75**3))


def test_last_phase_takes_what_does_not_divide():
    assert phase_epochs(10, 3) == [3, 3, 4]


def test_limit_is_the_budget_itself_in_the_last_phase():
    assert Phase(3, 3).limit(0.1 * 3, 7.0) == 0.1 * 3


def test_limit_stays_when_the_budget_is_above_the_original():
    assert Phase(1, 3).limit(9.0, 7.0) == 9.0


def test_dense_epochs_come_out_of_the_whole():
    phases = phases_of("bimp", 2, 10, dense_epochs=3)
    assert [(p.number, p.epochs, p.epochs_before) for p in phases] == [(1, 3, 0), (2, 4, 3)]


def test_one_phase_needs_no_epochs():
    assert phases_of("imp", 1, 0) == [Phase(1, 1, "imp", 0, 0, 0)]


def test_too_few_epochs_are_refused():
    with pytest.raises(UsageError, match=r"--phases 4 needs at least one epoch for each phase; 2 are left after"):
        phases_of("imp", 4, 3, dense_epochs=1)
