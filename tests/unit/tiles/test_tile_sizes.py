"""Saliency, densities, and uneven layers in classes."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from onnxprune.core.errors import InternalError
from onnxprune.tiles import (
    BalancedTiles,
    TetrisBlocks,
    block_sums,
    efficacy,
    fill_classes,
    largest_mass,
    measure_saliency,
    pack,
    packed_size,
    retained,
    retention_curve,
    split_tiles,
)


def test_magnitudes_are_summed_over_taps_and_have_sum_one():
    weight = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    found = measure_saliency(weight)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, np.abs(weight).sum((2, 3)) / np.abs(weight).sum())


def test_energy_weighs_inputs_by_their_second_moments():
    rng = np.random.default_rng(1)
    weight, per_input, per_tap = rng.standard_normal((4, 3, 2)), rng.random(4), rng.random((4, 2))
    one = (weight**2).sum(2) * per_input[:, None]
    np.testing.assert_allclose(measure_saliency(weight, per_input), one / one.sum())
    other = np.einsum("knt,kt->kn", weight**2, per_tap)
    np.testing.assert_allclose(measure_saliency(weight, per_tap), other / other.sum())


def test_energy_is_the_squared_error_of_leaving_one_out():
    rng = np.random.default_rng(2)
    weight, x = rng.standard_normal((5, 1)), rng.standard_normal((400, 5))
    error = np.array([((x[:, k] * weight[k, 0]) ** 2).mean() for k in range(5)])
    np.testing.assert_allclose(measure_saliency(weight, (x**2).mean(0))[:, 0], error / error.sum())


def test_a_weight_of_zeros_has_no_saliency():
    assert not measure_saliency(np.zeros((3, 2))).any()


@pytest.mark.parametrize(("weight", "moment"), [(np.ones(3), None), (np.ones((3, 2)), np.ones(2))])
def test_shapes_that_do_not_fit_are_refused(weight, moment):
    with pytest.raises(InternalError):
        measure_saliency(weight, moment)


def test_saliency_must_be_finite():
    with pytest.raises(InternalError, match="finite"):
        measure_saliency(np.array([[np.nan, 1.0]]))


def test_efficacy_is_a_share_of_the_room():
    assert efficacy(3, 2, 6) == pytest.approx(0.25)
    assert efficacy(2, 2, 2) == 1


def test_largest_mass_takes_the_largest():
    values = np.random.default_rng(3).random((5, 4))
    assert largest_mass(values, 7) == pytest.approx(np.sort(values.ravel())[-7:].sum())
    assert largest_mass(values, 99) == pytest.approx(values.sum())


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 48), (61, 50), (3, 5)])
def test_size_is_that_of_the_packed_weight(inputs, outputs):
    pattern = BalancedTiles(8, 16, 0.4)
    weight = np.random.default_rng(4).random((inputs, outputs)).astype(np.float32)
    packed = pack(weight, pattern.choose(block_sums(pattern, weight.astype(np.float64))) > 0.5, 8, 16)
    size = packed_size(pattern, inputs, outputs, positions=10)
    assert size.kept == packed.index.shape[1]
    assert size.weights == packed.values.size
    assert size.size_bytes == packed.values.nbytes + packed.index.nbytes
    assert size.macs == 10 * packed.values.size
    assert (size.dense_bytes, size.dense_macs) == (weight.nbytes, 10 * weight.size)


def test_size_counts_taps():
    size = packed_size(BalancedTiles(8, 16, 0.5), 32, 32, taps=9, itemsize=2)
    assert size.weights == 2 * 2 * 8 * 16 * 9
    assert size.size_bytes == 2 * size.weights + 8 * 2 * 2


def test_sizes_below_one_are_refused():
    with pytest.raises(InternalError):
        packed_size(BalancedTiles(8, 16, 0.5), 0, 32)


def test_curve_is_what_each_density_keeps():
    rng = np.random.default_rng(5)
    saliency, rows, columns = rng.random((29, 22)), rng.permutation(29), rng.permutation(22)
    curve = retention_curve(BalancedTiles(4, 5, 1.0), saliency, rows, columns)
    assert curve.kept.tolist() == list(range(1, 9))
    for density, mass in zip(curve.densities.tolist(), curve.mass.tolist(), strict=True):
        assert mass == pytest.approx(retained(BalancedTiles(4, 5, density), saliency, rows, columns))
    steps = np.diff(curve.mass)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(steps))


def _padded_cost(counts, parting, overhead):
    cost = 0.0
    for label in set(parting):
        inside = [c for c, p in zip(counts, parting, strict=True) if p == label]
        cost += len(inside) * max(inside) + (overhead if max(inside) else 0)
    return cost


@pytest.mark.parametrize("seed", range(8))
def test_split_is_the_cheapest_of_all(seed):
    rng = np.random.default_rng(seed)
    counts, overhead = rng.integers(0, 6, size=6), float(rng.choice([0.0, 1.5, 4.0]))
    classes = split_tiles(counts, 3, overhead)
    assert sorted(np.concatenate([each.tiles for each in classes]).tolist()) == list(range(6))
    assert len(classes) <= 3
    assert all(each.kept == counts[each.tiles].max() for each in classes)
    cost = sum(len(each.tiles) * each.kept + (overhead if each.kept else 0) for each in classes)
    best = min(_padded_cost(counts.tolist(), parting, overhead) for parting in product(range(3), repeat=6))
    assert cost == pytest.approx(best)


def test_overhead_joins_classes():
    counts = np.array([4, 4, 3, 3])
    assert len(split_tiles(counts, 4, 0.0)) == 2
    assert len(split_tiles(counts, 4, 100.0)) == 1


def test_nothing_to_split_is_refused():
    with pytest.raises(InternalError):
        split_tiles(np.array([], dtype=np.int64))


def test_uneven_blocks_become_packed_layers():
    weight = np.random.default_rng(6).standard_normal((24, 30)) * np.exp(np.arange(30) / 8)
    pattern = TetrisBlocks(4, 5, 0.6)
    sums = block_sums(pattern, np.abs(weight))
    choice = pattern.choose(sums) > 0.5
    classes = split_tiles(choice.sum(axis=0), 3)
    full = fill_classes(sums, choice, classes)
    assert full[choice].all()
    for each in classes:
        assert (full[:, each.tiles].sum(axis=0) == each.kept).all()
        columns = (each.tiles[:, None] * 5 + np.arange(5)).reshape(-1)
        if each.kept:
            assert pack(weight[:, columns], full[:, each.tiles], 4, 5).index.shape == (len(each.tiles), each.kept)
