"""Differences between outputs, on arrays whose difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxprune.core.errors import ModelError
from onnxprune.runtime.compare import OutputDifference, compare, worst_rel

NAN, INF = math.nan, math.inf


def difference(a: object, b: object, dtype: object = np.float32) -> OutputDifference:
    (found,) = compare({"y": np.asarray(a, dtype)}, {"y": np.asarray(b, dtype)})
    return found


def test_known_difference() -> None:
    found = difference([3.0, 4.0], [3.0, 4.5], np.float64)
    assert found.max_abs == 0.5
    assert found.max_rel == pytest.approx(0.5 / 4.0, rel=1e-8)
    assert found.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)), rel=1e-12)
    assert not found.identical


def test_equal_outputs() -> None:
    found = difference([[1.0, -2.0]], [[1.0, -2.0]])
    assert (found.max_abs, found.max_rel, found.cosine, found.identical) == (0, 0, 1, True)
    assert found.reference_shape == found.other_shape == (1, 2)


def test_difference_is_taken_in_float64() -> None:
    found = difference([60000.0], [-60000.0], np.float16)
    assert found.max_abs == 2 * float(np.float16(60000.0))
    assert found.cosine == -1


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_same_special_value_at_the_same_place_is_equal(value: float) -> None:
    found = difference([1.0, value], [1.0, value])
    assert (found.max_abs, found.max_rel, found.identical) == (0, 0, True)


@pytest.mark.parametrize(("a", "b"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (INF, -INF), (NAN, INF)])
def test_special_value_on_one_side_is_infinitely_far(a: float, b: float) -> None:
    found = difference([1.0, a], [1.0, b])
    assert (found.max_abs, found.max_rel, found.identical) == (INF, INF, False)


def test_zero_against_small_is_relative_to_the_floor() -> None:
    assert difference([0.0], [1e-9], np.float64).max_rel == pytest.approx(1.0)
    assert difference([0.0], [0.0]).cosine == 1
    assert difference([0.0], [1.0]).cosine == 0


def test_large_values_have_a_cosine() -> None:
    assert difference([1e300, 1e300], [2e300, 2e300], np.float64).cosine == pytest.approx(1.0)


def test_integers_are_compared_exactly() -> None:
    found = difference([2**60], [2**60 + 1], np.int64)
    assert not found.identical
    assert difference([2**60], [2**60], np.int64).identical
    assert difference([True, False], [True, True], np.bool_).max_abs == 1


def test_other_shape_is_infinitely_far_and_named() -> None:
    found = difference([1.0], [1.0, 2.0])
    assert (found.max_rel, found.identical) == (INF, False)
    assert (found.reference_shape, found.other_shape) == ((1,), (2,))


def test_other_dtype_is_not_identical() -> None:
    (found,) = compare({"y": np.ones(2, np.float32)}, {"y": np.ones(2, np.float64)})
    assert (found.max_abs, found.identical) == (0, False)


def test_empty_outputs_are_equal() -> None:
    found = difference(np.zeros((0, 3)), np.zeros((0, 3)))
    assert (found.max_abs, found.max_rel, found.cosine, found.identical) == (0, 0, 1, True)


def test_text_is_equal_or_infinitely_far() -> None:
    assert difference(["a"], ["a"], object).identical
    assert difference(["a"], ["b"], object).max_abs == INF


def test_other_names_are_refused() -> None:
    with pytest.raises(ModelError, match="different outputs: a and b"):
        compare({"a": np.ones(1)}, {"b": np.ones(1)})


def test_worst_rel_of_several_outputs() -> None:
    ones = np.ones(2)
    found = compare({"a": ones, "b": ones}, {"a": ones, "b": 2 * ones})
    assert [d.name for d in found] == ["a", "b"]
    assert worst_rel(found) == pytest.approx(1.0)
    assert worst_rel([]) == 0
