"""Orders of whole axes from orders of atoms."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.axes import Atom, Prod, Sum, axis_order

A, B, C = Atom(3), Atom(2), Atom(4)
ORDERS = {A: np.array([2, 0, 1]), B: np.array([1, 0])}


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (A, [2, 0, 1]),
        (C, [0, 1, 2, 3]),
        (Prod([A, B]), [5, 4, 1, 0, 3, 2]),
        (Prod([C, B]), [1, 0, 3, 2, 5, 4, 7, 6]),
        (Sum([B, A, B]), [1, 0, 4, 2, 3, 6, 5]),
        (Sum([C, Prod([B, A])]), [0, 1, 2, 3, 9, 7, 8, 6, 4, 5]),
    ],
    ids=["atom", "atom that stays", "product", "product in part", "sum", "product in a sum"],
)
def test_parts_and_factors_stay_while_their_channels_move(axis, expected):
    assert axis_order(axis, ORDERS).tolist() == expected


def test_an_axis_looks_the_same_from_its_channels():
    axis = Prod([A, Sum([B, C])])
    names = np.arange(axis.size)
    # the same by reshaping: outer channels first, then those within
    inner = axis_order(Sum([B, C]), ORDERS)
    assert np.array_equal(axis_order(axis, ORDERS), names.reshape(3, 6)[ORDERS[A]][:, inner].reshape(-1))
