"""Least squares in which every output reads columns of its own."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.recover.masked import is_cheaper, solve_masked
from onnxprune.recover.normal import RowSums, solve


def system(columns, outputs, seed=0, rows=400):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns)) @ (rng.standard_normal((columns, columns)) / 4 + np.eye(columns))
    reads = np.zeros((columns, outputs), dtype=np.bool_)
    for output in range(outputs):
        for start in range(0, columns, 4):
            reads[start + rng.choice(4, 2, replace=False), output] = True
    return x, rng.standard_normal((rows, outputs)), reads


@pytest.mark.parametrize("ridge", [1e-4, 1e-1])
def test_it_is_what_a_factorisation_for_each_output_gives(ridge):
    x, y, reads = system(48, 20)
    s, b = x.T @ x / len(x), x.T @ y / len(x)
    s += ridge * np.trace(s) / len(s) * np.eye(len(s))
    found = solve_masked(s, b, reads, steps=400)
    assert not found[~reads].any()
    for output in range(b.shape[1]):
        at = reads[:, output]
        np.testing.assert_allclose(found[at, output], np.linalg.solve(s[np.ix_(at, at)], b[at, output]), rtol=1e-5)


def test_outputs_that_read_nothing_or_miss_nothing_stay_zero():
    x, y, reads = system(16, 3)
    reads[:, 0] = False
    y[:, 1] = 0.0
    found = solve_masked(x.T @ x, x.T @ y, reads)
    assert not found[:, :2].any()
    assert found[:, 2].any()


def test_many_sets_of_wide_layers_are_solved_together():
    rng = np.random.default_rng(0)
    assert not is_cheaper(rng.random((64, 64)) < 0.5, 64)
    assert is_cheaper(rng.random((4608, 512)) < 0.5, 512)
    assert not is_cheaper(rng.random((4608, 2)) < 0.5, 512)


def test_the_wide_way_is_taken_and_fits_what_outputs_read(monkeypatch):
    x, y, reads = system(32, 24)
    sums = RowSums(1, 32, 24)
    sums.add(x[None], y[None])
    direct = solve(sums, 1e-2, intercept=True, support=reads[None])
    monkeypatch.setattr("onnxprune.recover.normal.is_cheaper", lambda *_: True)
    together = solve(sums, 1e-2, intercept=True, support=reads[None])
    assert not together.weight[0][~reads].any()
    assert sums.error(together) == pytest.approx(sums.error(direct), rel=1e-6)
    np.testing.assert_allclose(together.bias, direct.bias, atol=1e-4)
