from __future__ import annotations

import numpy as np

from onnxprune.allocate.cost_table import CostTable
from onnxprune.axes import Poly

NAMES = ("a", "b", "c")
MACS = Poly({(): 7.0, ("a",): 3.0, ("a", "b"): 2.0, ("b", "b"): 5.0, ("b", "b", "c"): 1.0})
PARAMS = Poly({("a", "b"): 1.0, ("c",): 9.0})


def test_cost_equals_the_polynomials_at_any_counts():
    table = CostTable(NAMES, {"flops": MACS, "params": PARAMS})
    rng = np.random.default_rng(0)
    for counts in rng.integers(1, 100, (20, 3)):
        named = dict(zip(NAMES, counts.tolist(), strict=True))
        assert table.cost(counts).tolist() == [MACS(named), PARAMS(named)]


def test_moving_one_group_costs_what_a_fresh_count_says():
    table = CostTable(NAMES, {"flops": MACS, "params": PARAMS})
    counts, targets = np.array([4, 6, 2]), np.array([5, 12, 1])
    moved = table.alone(counts, targets)
    assert moved.shape == (2, 3)
    for group in range(3):
        single = counts.copy()
        single[group] = targets[group]
        np.testing.assert_allclose(moved[:, group], table.cost(single), rtol=1e-12)


def test_cost_is_constant_when_no_group_is_named():
    table = CostTable(("a",), {"flops": Poly.constant(12)})
    assert table.cost(np.array([3])).tolist() == [12.0]
    assert table.alone(np.array([3]), np.array([1])).tolist() == [[12.0]]


def test_cost_is_zero_when_the_polynomial_is_empty():
    assert CostTable(("a",), {"flops": Poly({})}).cost(np.array([3])).tolist() == [0.0]
