"""Masked original equals pruned model, on random graphs and random plans."""

from __future__ import annotations

import pytest
from pruning import analysed, disagreement, random_plan
from random_graphs import random_model

from onnxprune.cost import COSTS
from onnxprune.groups import prune
from onnxprune.runtime import capture

TOLERANCE = 2e-5


def check(seed: int) -> None:
    """Prunes the random model of `seed` and checks outputs and costs."""
    item = analysed(random_model(seed))
    plan = random_plan(item.analysis, seed, share=0.5)
    error = disagreement(item, plan, seed=seed)
    assert error < TOLERANCE, f"random_model({seed}): masked and pruned differ by {error:.2e}"
    slim = prune(item.model, item.analysis, plan)
    shapes = capture(slim.to_proto(), {"x": capture_input()}).shapes
    counts = {name: len(kept) for name, kept in plan.kept.items()}
    for resource in ("flops", "params"):
        cost = COSTS.get(resource)()
        predicted = cost.polynomial(item.analysis, item.model)(counts)
        assert cost.recount(slim, shapes) == pytest.approx(predicted, rel=1e-9), f"random_model({seed}): {resource}"


def capture_input():
    """One batch for the recount."""
    import numpy as np

    return np.zeros((1, 3, 8, 8), dtype=np.float32)


@pytest.mark.parametrize("block", range(12))
def test_random_graphs_prune_exactly(block):
    for seed in range(block * 10, block * 10 + 10):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(40))
def test_many_random_graphs_prune_exactly(block):
    for seed in range(1000 + block * 25, 1000 + block * 25 + 25):
        check(seed)
