"""Labels against outputs: class indices, dense ones, and whatever a loss of the user's reads."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train import open_data
from onnxprune.train.label_checks import dense_axis

X = (TensorSpec("x", np.dtype("float32"), ("n", 2)),)
FLOAT = np.dtype("float32")
SCORES = (TensorSpec("scores", FLOAT, ("n", 4)),)
MAP = (TensorSpec("map", FLOAT, ("n", 5, 6, 7)),)
TOKENS = (TensorSpec("tokens", FLOAT, ("n", "t", 50)),)


def _open(values, outputs, **options):
    return open_data({"x": np.zeros((len(values), 2), np.float32), "labels": values}, X, outputs=outputs, **options)


@pytest.mark.parametrize(
    ("labels", "output", "axis"),
    [
        ((3, 6, 7), ("n", 5, 6, 7), 1),
        ((3, 6, 7), ("n", 6, 7, 5), 3),
        ((3, 9), ("n", "t", 50), 2),
        ((3, 9), ("n", 50, 9), 1),
        ((3, 9), ("n", "a", "b"), 2),
        ((3, 4, 4), ("n", None, "h", "w"), 1),
        ((3, 6, 7), ("n", 1, 6, 7), None),
        ((3, 6), ("n", 5, 6, 7), None),
        ((3,), ("n", 4), None),
    ],
)
def test_class_axis_is_the_one_that_is_left_over(labels, output, axis):
    assert dense_axis(labels, output) == axis


def test_dense_class_indices_fit_maps_and_tokens():
    labels = np.random.default_rng(0).integers(0, 5, (3, 6, 7)).astype(np.uint8)
    labels[0, 0, 0] = 4
    opened = _open(labels, MAP).labels
    assert opened.dtype == np.int64
    assert np.array_equal(opened, labels)
    assert _open(np.array([[0, 49, -100]]), TOKENS).labels.tolist() == [[0, 49, -100]]


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (np.full((3, 6, 7), 5), MAP, r"5\.\.5.*'map'.*0\.\.4.*-100"),
        (np.full((3, 6, 7), -1), MAP, r"-1\.\.-1.*'map'"),
        (np.full((3, 6, 8), 0), MAP, r"\[3, 6, 8\].*'map'"),
        (np.zeros((3, 6, 7)), MAP, r"float64"),
        (np.array([-100, 0]), SCORES, r"-100\.\.0"),
        (np.array(["cat", "dog"]), SCORES, r"text, such as 'cat'.*numpy\.unique"),
        (np.array([b"cat"]), SCORES, r"text, such as 'cat'"),
        (np.array(["cat", None], dtype=object), SCORES, r"text, such as 'cat'"),
        (np.array([True, False]), SCORES, r"bool"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, outputs, message):
    with pytest.raises(DataError, match=message) as caught:
        _open(labels, outputs)
    assert "\n" not in str(caught.value)


def test_all_positions_left_out_is_allowed():
    assert (_open(np.full((2, 6, 7), -100), MAP).labels == -100).all()


def test_one_column_of_indices_is_flattened():
    assert _open(np.array([[0], [3]]), SCORES).labels.tolist() == [0, 3]


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_any_numbers_are_left_as_they_are_for_a_loss_of_the_users(dtype):
    labels = np.arange(12).reshape(3, 4).astype(dtype)
    opened = _open(labels, SCORES, labels="any").labels
    assert opened.dtype == dtype
    assert np.array_equal(opened, labels)


@pytest.mark.parametrize("labels", [np.array(["a"]), np.array([1j])])
def test_any_labels_are_numbers(labels):
    with pytest.raises(DataError, match="labels"):
        _open(labels, SCORES, labels="any")


def test_unsigned_labels_become_a_type_that_tensors_have():
    assert _open(np.array([2**40], np.uint64), SCORES, labels="any").labels.dtype == np.int64


@pytest.mark.parametrize("outputs", [SCORES, (TensorSpec("tags", FLOAT, ("n", None)),)])
def test_floating_point_shares_of_an_outputs_shape_are_taken(outputs):
    labels = np.array([[0, 0.25, 1, -100], [1, 1, 0, 0]])
    opened = _open(labels, outputs).labels
    assert opened.dtype == np.float32
    assert np.array_equal(opened, labels)


@pytest.mark.parametrize("value", [1.5, -1.0, np.nan])
def test_shares_outside_zero_and_one_are_refused(value):
    with pytest.raises(DataError, match=r"outside 0\.\.1.*-100 marks"):
        _open(np.full((2, 4), value), SCORES)


def test_labels_for_a_metric_are_classes_where_they_can_be_and_numbers_elsewhere():
    assert _open(np.array([[0], [3]]), SCORES, labels="either").labels.tolist() == [0, 3]
    assert _open(np.full((2, 4), 7.5), SCORES, labels="either").labels.tolist() == [[7.5] * 4] * 2
    assert _open(np.array([0.5, 2.5]), SCORES, labels="either").labels.tolist() == [0.5, 2.5]
    with pytest.raises(DataError, match=r"classes 0\.\.3"):
        _open(np.array([0, 4]), SCORES, labels="either")
