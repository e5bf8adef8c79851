"""Gates of random graphs: under random plans, the gated model is the masked original."""

from __future__ import annotations

import pytest
from gating import check
from properties import SIZES, feeds_of
from pruning import analysed
from random_graphs import build, draw

from onnxprune.trial.gates import find_gates


def check_seed(seed: int) -> None:
    """Checks the graph of a seed, where it has groups."""
    source = build(draw(seed))
    item = analysed(source)
    if item.analysis.groups:
        feeds = feeds_of(source, SIZES[1], seed)
        gates = find_gates(item.model, item.analysis, feeds, seed)
        assert gates.groups, f"seed {seed}"
        for plan_seed in (seed + 1, seed + 2):
            check(item, gates, feeds, plan_seed)


@pytest.mark.parametrize("seed", range(12))
def test_gated_random_graphs_are_the_masked_originals(seed):
    check_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_gated_random_graphs_are_the_masked_originals(block):
    for seed in range(100 + block * 20, 120 + block * 20):
        check_seed(seed)
