"""Scores of batches, counted by hand."""

from __future__ import annotations

import pytest
import torch

from onnxprune.train.metrics import element_score, position_score

SCORES = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [1.0, 1.0, 4.0], [2.0, 0.0, 0.0]])


def test_one_position_per_sample_counts_hits():
    assert position_score(SCORES, torch.tensor([0, 1, 0, 0]), 1).item() == 3


def test_ignored_positions_do_not_count():
    assert position_score(SCORES, torch.tensor([0, -100, 0, -100]), 1).item() == pytest.approx(4 * 1 / 2)


def test_batch_without_counted_positions_scores_nothing():
    assert position_score(SCORES, torch.full((4,), -100), 1).item() == 0


@pytest.mark.parametrize("axis", [1, 2])
def test_dense_scores_are_shares_of_positions(axis):
    scores = SCORES.reshape(2, 2, 3).movedim(2, axis)
    aims = torch.tensor([[0, 1], [0, -100]])
    assert position_score(scores, aims, axis).item() == pytest.approx(2 * 2 / 3)


def test_elements_count_by_their_side_of_zero():
    logits = torch.tensor([[1.0, -1.0], [2.0, 0.5], [-3.0, -0.1]])
    assert element_score(logits, torch.tensor([[1.0, 0.0], [0.0, 0.7], [0.2, 1.0]])).item() == pytest.approx(3 * 4 / 6)
    assert element_score(logits, torch.tensor([[1, -100], [0, -100], [0, -100]])).item() == pytest.approx(3 * 2 / 3)
