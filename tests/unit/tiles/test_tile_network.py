"""From axes of a graph to members of a search."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from graphs import model_of
from pruning import Analysed, analysed
from random_graphs import build, draw

from onnxprune.axes import Atom, Prod, Sum, axis_order, keep_mask
from onnxprune.core.plan import Plan
from onnxprune.groups import find_tile_sites, prune, reordered
from onnxprune.groups.masking import plan_masks
from onnxprune.tiles.axis import Segment
from onnxprune.tiles.axis import axis_order as segment_order
from onnxprune.tiles.balanced_tiles import BalancedTiles
from onnxprune.tiles.network import as_matrix, axis_segments, from_matrix, make_members, movable_groups
from onnxprune.tiles.permutation import search
from onnxprune.tiles.saliency import measure_saliency

A, B, C = Atom(3), Atom(2), Atom(4)
NAMES = {A: "a", B: "b"}


@cache
def random_net(seed: int) -> Analysed:
    """The random graph of a seed, which no test changes."""
    return analysed(build(draw(seed)), approximate=True)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (A, [Segment("a", 3)]),
        (C, [Segment(None, 4)]),
        (Prod([A, C]), [Segment("a", 3, 1, 4)]),
        (Prod([C, A]), [Segment("a", 3, 4)]),
        (Prod([C, Prod([A, C])]), [Segment("a", 3, 4, 4)]),
        (Sum([A, C, B]), [Segment("a", 3), Segment(None, 4), Segment("b", 2)]),
        (Prod([Atom(2), Sum([A, B]), Atom(5)]), [Segment("a", 3, 1, 5), Segment("b", 2, 1, 5)] * 2),
        (Prod([C, Atom(2)]), [Segment(None, 8)]),
    ],
    ids=str,
)
def test_an_axis_is_written_in_segments(axis, expected):
    assert list(axis_segments(axis, NAMES)) == expected


def test_channels_that_are_gone_make_segments_shorter():
    axis = Prod([C, Sum([A, B])])
    assert axis_segments(axis, {A: "a"}, {A: 1, C: 2}) == (Segment("a", 1), Segment(None, 2)) * 2


def test_of_heads_and_their_channels_the_larger_one_moves():
    item = analysed(model_of("g (float[N, 5, 12] x, float[12, 12] w) => (float[N, 5, 12] y) { y = MatMul(x, w) }"))
    (site,) = find_tile_sites(item.analysis).sites
    heads, inner = Atom(3), Atom(4)
    item.analysis.inference.axes("w")[0] = Prod([heads, inner])
    atoms = {"heads": heads, "inner": inner}
    object.__setattr__(item.analysis, "atoms", atoms)
    assert movable_groups(item.analysis, [site]) == {inner: "inner"}


def _members(item, plan=None):
    sites = find_tile_sites(item.analysis).sites
    model = item.model if plan is None else prune(item.model, item.analysis, plan)
    found = {site.weight: measure_saliency(as_matrix(model.read(site.weight), site)) for site in sites}
    counts = None if plan is None else {name: len(kept) for name, kept in plan.kept.items()}
    patterns = {site.weight: BalancedTiles(2, 2, 0.5) for site in sites}
    return sites, make_members(item.analysis, sites, found, patterns, counts=counts)


@pytest.mark.parametrize("block", range(2))
def test_segments_say_of_random_graphs_what_axes_say(block):
    for seed in range(block * 8, block * 8 + 8):
        item = random_net(seed)
        sites, members = _members(item)
        names = movable_groups(item.analysis, sites)
        rng = np.random.default_rng(seed)
        orders = {name: rng.permutation(item.analysis.sizes[name]) for name in names.values()}
        moved = {atom: orders[name] for atom, name in names.items()}
        for site, member in zip(sites, members, strict=True):
            axes = item.analysis.inference.axes(site.weight)
            for segments, position in ((member.rows, site.input_axis), (member.columns, site.output_axis)):
                expected = axis_order(axes[position], moved)
                assert np.array_equal(segment_order(segments, orders), expected), f"seed {seed}, {site}"


def test_segments_of_a_pruned_model_fit_its_weights():
    for seed in range(8):
        item = random_net(seed)
        rng = np.random.default_rng(seed)
        kept = {
            name: tuple(sorted(int(i) for i in rng.choice(size, max(1, size // 2), replace=False)))
            for name, size in item.analysis.sizes.items()
        }
        plan = Plan("", item.analysis.sizes, kept)
        sites, members = _members(item, plan)  # a member checks its own shape
        masks = plan_masks(item.analysis, plan)
        for site, member in zip(sites, members, strict=True):
            axes = item.analysis.inference.axes(site.weight)
            assert sum(s.length for s in member.rows) == keep_mask(axes[site.input_axis], masks).sum(), seed


def test_orders_that_were_found_prune_the_moved_model_as_stated():
    item = analysed(
        model_of(
            """g (float[N, 3, 8, 8] x, float[8, 3, 3, 3] a, float[8] b, float[12, 8, 3, 3] c, float[6, 192] d)
            => (float[N, 6] y) {
                h = Conv<pads=[1, 1, 1, 1]>(x, a, b)
                r = Relu(h)
                q = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(r, c)
                f = Flatten(q)
                y = Gemm<transB=1>(f, d)
            }"""
        )
    )
    sites, members = _members(item)
    found = search(members)
    moved = reordered(item.model, item.analysis, found.orders)
    for site in sites:
        one = found.members[site.weight]
        there = measure_saliency(as_matrix(moved.read(site.weight), site))
        mask = np.repeat(np.repeat(one.choice, 2, axis=0), 2, axis=1)[: there.shape[0], : there.shape[1]]
        assert there[~mask].sum() == pytest.approx(one.pruned.found, abs=1e-9)
        stays = from_matrix(one.mask, site) * item.model.read(site.weight)
        assert np.abs(stays).sum() == pytest.approx(np.abs(moved.read(site.weight) * from_matrix(mask, site)).sum())
