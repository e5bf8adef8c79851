"""Orders of channels on random graphs: of what is left after pruning, and between the two analyses."""

from __future__ import annotations

import numpy as np
import pytest
from properties import SIZES, TOLERANCE, case_of, feeds_of, gap
from pruning import analysed, in_mode
from random_graphs import build, draw

from onnxprune.groups import counterparts, prune, reordered
from onnxprune.runtime import make_session, run


def check_seed(seed: int) -> None:
    """Orders what a plan leaves, by groups of the approximate analysis."""
    source = build(draw(seed))
    exact = analysed(source)
    wide = in_mode(exact, approximate=True)
    names = counterparts(exact.analysis, wide.analysis)
    assert names is not None, f"seed {seed}"
    assert all(exact.analysis.sizes[a] == wide.analysis.sizes[b] for a, b in names.items())
    case = case_of(source, exact, seed)
    kept = {names[name]: len(channels) for name, channels in case.plan.kept.items()}
    rng = np.random.default_rng(seed)
    orders = {name: rng.permutation(kept.get(name, size)) for name, size in wide.analysis.sizes.items()}
    slim = prune(exact.model, exact.analysis, case.plan)
    moved = reordered(slim, wide.analysis, orders, kept)
    sessions = [make_session(model.to_proto(), optimize=False, threads=1) for model in (slim, moved)]
    feeds = feeds_of(source, SIZES[1], seed)
    before, after = (run(session, feeds) for session in sessions)
    assert gap(after, before) < TOLERANCE, f"seed {seed}"


@pytest.mark.parametrize("block", range(2))
def test_what_is_left_of_random_graphs_may_stand_in_any_order(block):
    for seed in range(block * 7, block * 7 + 7):
        check_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_what_is_left_of_many_random_graphs_may_stand_in_any_order(block):
    for seed in range(4000 + block * 40, 4000 + block * 40 + 40):
        check_seed(seed)
