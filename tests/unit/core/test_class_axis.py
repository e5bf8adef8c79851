"""Which axis holds classes, told by the labels."""

from __future__ import annotations

import pytest

from onnxprune.core.class_axis import class_axis


@pytest.mark.parametrize(
    ("output", "labels", "axis"),
    [
        ((8, 5), (8,), 1),
        ((8, 7, 5), (8, 7), 2),
        ((8, 5, 7), (8, 7), 1),
        ((8, 5, 3, 4), (8, 3, 4), 1),
        ((8, 3, 4, 5), (8, 3, 4), 3),
        ((2, 5, 3, 4), (1000, 3, 4), 1),
        (("batch", 7, 5), (100, 7), 2),
        (("batch", "tokens", 5), (100, 7), 2),
        (("batch", 5, None, None), (100, 3, 4), 1),
    ],
)
def test_axis_is_what_the_labels_lack(output, labels, axis):
    assert class_axis(output, labels) == axis


@pytest.mark.parametrize(("output", "labels", "axis"), [((8, 6, 6), (8, 6), 2), ((8, 6, 6, 6), (8, 6, 6), 1)])
def test_of_two_axes_tokens_have_the_last_and_images_the_first(output, labels, axis):
    assert class_axis(output, labels) == axis


def test_known_axis_is_the_only_one_looked_at():
    assert class_axis((8, 6, 6), (8, 6), 1) == 1
    assert class_axis((8, 7, 5), (8, 7), 1) is None


@pytest.mark.parametrize(
    ("output", "labels"), [((8,), (8,)), ((8, 5), (8, 5)), ((8, 1), (8,)), ((8, 7, 5), (8,)), ((8, 7, 5), (8, 6))]
)
def test_nothing_fits(output, labels):
    assert class_axis(output, labels) is None
