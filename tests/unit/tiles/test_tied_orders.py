"""Coupled layers: one order for all that read or write a channel."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from onnxprune.tiles import (
    BalancedTiles,
    Member,
    NOfM,
    SearchOptions,
    Segment,
    TetrisBlocks,
    axis_length,
    axis_order,
    block_sparse_matmul,
    make_mask,
    measure_saliency,
    pack,
    search,
)
from onnxprune.tiles.arrangement import Arrangement, cycles
from onnxprune.tiles.variable import placing_cost

QUICK = SearchOptions(kicks=3, warm_rounds=6, kick_rounds=3)
TILES = BalancedTiles(4, 4, 0.4)


def _member(rng, name, rows, columns, pattern, weight=1.0):
    shape = (axis_length(rows), axis_length(columns))
    saliency = np.abs(rng.standard_normal(shape)) * np.exp(0.5 * rng.standard_normal((shape[0], 1)))
    return Member(name, saliency, rows, columns, pattern, weight)


def _residual(rng):
    """A stem, two blocks on one trunk of which one concatenates, attention heads and a flattened classifier."""
    trunk, inner, heads = Segment("trunk", 16), Segment("inner", 12), Segment("heads", 4, outer=2, inner=3)
    return [
        _member(rng, "stem", (Segment(None, 5),), (trunk,), BalancedTiles(2, 4, 0.5)),
        _member(rng, "in", (trunk,), (inner,), TILES, 2.0),
        _member(rng, "out", (inner,), (trunk,), TetrisBlocks(4, 4, 0.5)),
        _member(rng, "join", (trunk, Segment(None, 3), inner, trunk), (heads,), TILES),
        _member(rng, "project", (heads,), (trunk,), BalancedTiles(3, 4, 0.5), 0.5),
        _member(rng, "square", (trunk,), (trunk,), TILES),
        _member(rng, "classify", (Segment("trunk", 16, inner=2),), (Segment(None, 7),), BalancedTiles(4, 7, 0.5)),
    ]


def _mixed(rng):
    """N:M members among tiles, one of them reading two copies of a channel."""
    a, b = Segment("a", 16), Segment("b", 12)
    return [
        _member(rng, "first", (Segment(None, 3),), (a,), BalancedTiles(1, 4, 0.5)),
        _member(rng, "second", (a,), (b,), NOfM(2, 4)),
        _member(rng, "third", (b, a), (Segment(None, 8),), NOfM(1, 4)),
        _member(rng, "fourth", (Segment("a", 16, inner=3),), (b,), NOfM(2, 4)),
    ]


NETS = {"residual": _residual, "mixed": _mixed}


def _net(name, seed=0):
    return NETS[name](np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(NETS))
def test_orders_applied_to_all_members_give_the_stated_masses(name):
    members = _net(name)
    found = search(members, QUICK)
    total = 0.0
    for member in members:
        result = found.members[member.name]
        rows, columns = axis_order(member.rows, found.orders), axis_order(member.columns, found.orders)
        moved = member.saliency[np.ix_(rows, columns)]
        mask = make_mask(member.pattern, moved)
        pruned = member.weight * moved[~mask].sum()
        assert pruned == pytest.approx(result.pruned.found, rel=1e-9)
        assert (result.mask[np.ix_(rows, columns)] == mask).all()
        assert (result.rows == rows).all()
        assert (result.columns == columns).all()
        total += pruned
    assert total == pytest.approx(found.pruned.found, rel=1e-9)
    assert found.pruned.found < min(found.pruned.none, found.pruned.sorted)
    assert found.pruned.bound <= found.pruned.found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", sorted(NETS))
def test_m_steps_never_prune_more(name, seed):
    members, rng = _net(name, seed), np.random.default_rng(seed)
    now = Arrangement(members, SearchOptions(), rng)
    now.take({variable.name: rng.permutation(variable.size) for variable in now.variables})
    for variable in now.variables * 3:
        before = now.kept()
        now.improve(variable)
        assert now.kept() >= before * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["a", "b"])
def test_cost_of_placings_differs_as_what_fixed_masks_keep(name, seed):
    rng = np.random.default_rng(seed)
    members = [
        _member(
            rng,
            "one",
            (Segment("a", 6, outer=2, inner=3), Segment(None, 5), Segment("b", 7), Segment("a", 6)),
            (Segment(None, 9),),
            TILES,
            3.0,
        ),
        _member(rng, "two", (Segment("b", 7),), (Segment(None, 1), Segment("a", 6, inner=2)), TetrisBlocks(4, 4, 0.5)),
        _member(rng, "three", (Segment("b", 7, inner=3),), (Segment(None, 2),), NOfM(2, 4)),
    ]
    now = Arrangement(members, SearchOptions(), rng)
    now.take({variable.name: rng.permutation(variable.size) for variable in now.variables})
    masks = [make_mask(sheet.member.pattern, sheet.values, *sheet.orders) for sheet in now.sheets]
    masks = [mask[np.ix_(*sheet.orders)] for mask, sheet in zip(masks, now.sheets, strict=True)]  # in positions
    variable = next(variable for variable in now.variables if variable.name == name)
    cost = placing_cost(variable, now.sheets)
    paid, kept = [], []
    for _ in range(2):
        orders = {**now.orders, name: rng.permutation(variable.size)}
        paid.append(cost[orders[name], variable.kinds].sum())
        now.take(orders)
        kept.append(sum((s.values[np.ix_(*s.orders)] * m).sum() for s, m in zip(now.sheets, masks, strict=True)))
    assert kept[1] - kept[0] == pytest.approx(paid[0] - paid[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_tiny_coupled_layers_come_to_the_very_best(seed):
    rng = np.random.default_rng(seed)
    pattern = BalancedTiles(2, 2, 0.5)
    a, b = Segment("a", 4), Segment("b", 4)
    members = [
        _member(rng, "one", (a,), (b,), pattern),
        _member(rng, "two", (b,), (a,), pattern),
        _member(rng, "square", (a,), (a,), pattern),
    ]
    every = [np.array(order) for order in permutations(range(4))]
    best = min(_pruned(members, {"a": x, "b": y}) for x in every for y in every)
    assert search(members).pruned.found == pytest.approx(best, rel=1e-9)


def _pruned(members, orders):
    total = 0.0
    for member in members:
        moved = member.saliency[np.ix_(axis_order(member.rows, orders), axis_order(member.columns, orders))]
        total += moved[~make_mask(member.pattern, moved)].sum()
    return total


def test_weights_decide_whose_order_it_is():
    rng = np.random.default_rng(2)
    hidden = np.kron(np.eye(4), np.ones((4, 2)))
    pattern, sides = BalancedTiles(4, 2, 0.25), ((Segment("a", 16),), (Segment(None, 8),))
    wishes = {name: hidden[rng.permutation(16)] for name in ("one", "two")}
    for heavy, light in (("one", "two"), ("two", "one")):
        members = [Member(name, wishes[name], *sides, pattern, 100.0 if name == heavy else 1.0) for name in wishes]
        found = search(members)
        assert found.members[heavy].pruned.found == pytest.approx(0, abs=1e-9)
        assert found.members[light].pruned.found > 1


def test_orders_without_effect_stay_as_they_are():
    rng = np.random.default_rng(3)
    member = _member(rng, "m", (Segment("a", 8, inner=4),), (Segment("b", 8),), TILES)
    found = search([member], QUICK)
    assert found.orders["a"].tolist() == list(range(8))
    assert found.orders["b"].tolist() != list(range(8))


@pytest.mark.parametrize("name", sorted(NETS))
def test_same_seed_gives_the_same_network(name):
    one, other = (search(_net(name), QUICK, np.random.default_rng(4)) for _ in range(2))
    assert all((one.orders[key] == other.orders[key]).all() for key in one.orders)


def test_permuted_and_packed_layers_compute_what_masked_ones_do():
    rng = np.random.default_rng(6)
    width = Segment("width", 24)
    first, second = rng.standard_normal((10, 24)), rng.standard_normal((24, 13))
    pattern = BalancedTiles(4, 6, 0.5)
    members = [
        Member("first", measure_saliency(first), (Segment(None, 10),), (width,), pattern),
        Member("second", measure_saliency(second), (width,), (Segment(None, 13),), pattern),
    ]
    found = search(members, QUICK)
    x = rng.standard_normal((5, 10))
    y, expected = x, x
    for name, weight in (("first", first), ("second", second)):
        member = found.members[name]
        packed = pack(weight[np.ix_(member.rows, member.columns)], member.choice, 4, 6)
        y = np.maximum(block_sparse_matmul(y, packed.values, packed.index, 4)[:, : weight.shape[1]], 0)
        expected = np.maximum(expected @ (weight * member.mask), 0)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)  # no gather between the layers


def test_no_member_is_no_problem():
    found = search([])
    assert found.orders == {}
    assert found.pruned.efficacy == 1


def test_cycles_lead_from_one_order_to_the_other():
    rng = np.random.default_rng(5)
    before, after = rng.permutation(20), rng.permutation(20)
    order = before.copy()
    for cycle in cycles(before, after):
        assert sorted(before[cycle].tolist()) == sorted(after[cycle].tolist())
        order[cycle] = after[cycle]
    assert (order == after).all()
    assert cycles(before, before) == []
