"""Cost polynomials."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.axes import Atom, Poly, Prod, Sum, size_polynomial


def test_product_of_sums_expands_to_monomials():
    a, b = Poly.variable("a"), Poly.variable("b")
    square = (a + b) * (a + b)
    assert square.terms == {("a", "a"): 1.0, ("a", "b"): 2.0, ("b", "b"): 1.0}
    assert square({"a": 3, "b": 4}) == 49


def test_value_is_the_same_for_numbers_arrays_and_compiled_form():
    poly = Poly({(): 2.0, ("a",): 3.0, ("a", "b"): 0.5, ("b", "b", "b"): 1.0})
    arrays = poly({"a": np.array([1.0, 2.0]), "b": np.array([3.0, 5.0])})
    assert arrays.tolist() == [poly({"a": 1, "b": 3}), poly({"a": 2, "b": 5})]
    assert poly.compiled(["b", "a"])(np.array([5.0, 2.0])) == poly({"a": 2, "b": 5})


def test_derivative_matches_a_finite_difference():
    poly = Poly({("a",): 3.0, ("a", "a", "b"): 0.5, ("b",): 7.0})
    at = {"a": 2.0, "b": 5.0}
    step = 1e-6
    numeric = (poly({"a": 2.0 + step, "b": 5.0}) - poly({"a": 2.0 - step, "b": 5.0})) / (2 * step)
    assert poly.derivative("a")(at) == pytest.approx(numeric, rel=1e-8)
    assert poly.derivative("c").terms == {}


def test_size_polynomial_follows_the_expression():
    heads, width, tail = Atom(4), Atom(8), Atom(5)
    names = {heads: Poly.variable("h"), width: Poly.variable("w"), tail: Poly.constant(5)}
    poly = size_polynomial(Sum([Prod([heads, width]), tail]), names.__getitem__)
    assert poly.terms == {("h", "w"): 1.0, (): 5.0}
    assert poly({"h": 4, "w": 8}) == 37


def test_compiled_zero_polynomial_is_zero():
    assert Poly.constant(0).compiled(["a"])(np.array([3.0])) == 0.0
