"""What outputs are taken for, by what computes them."""

from __future__ import annotations

import pytest
import torch
from graphs import model_of

from onnxprune.bridge import to_torch
from onnxprune.train.losses import as_tuple
from onnxprune.train.targets import LabelTarget, Target, find_label_target, find_targets

IMAGE = "float[N,3,4,4] x, float[5,3,1,1] w"


def _targets(body, inputs="float[N,4] x, float[4,5] w", outputs="float[N,5] y", *, opset=18, scores=True):
    module = to_torch(model_of(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=opset))
    shape = (6, 3, 4, 4) if inputs == IMAGE else (6, 4)
    with torch.no_grad():
        values = as_tuple(module(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    return [(target.kind, target.axis) for target in find_targets(module, values, scores=scores)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = MatMul(x, w)", ("classes", 1)),
        ("z = MatMul(x, w)  y = Softmax(z)", ("probabilities", 1)),
        ("z = MatMul(x, w)  y = LogSoftmax(z)", ("log_probabilities", 1)),
        ("z = MatMul(x, w)  y = Sigmoid(z)", ("binary", None)),
        ("z = MatMul(x, w)  s = Softmax(z)  y = Identity(s)", ("probabilities", 1)),
        ("z = MatMul(x, w)  s = Sigmoid(z)  y = Cast<to=1>(s)", ("binary", None)),
        ("z = MatMul(x, w)  y = Softmax<axis=0>(z)", ("values", None)),
        ("z = MatMul(x, w)  s = Softmax(z)  y = Add(s, s)", ("classes", 1)),
    ],
)
def test_output_of_two_axes(body, expected):
    assert _targets(body) == [expected]


@pytest.mark.parametrize(
    ("body", "shape", "expected"),
    [
        ("y = Conv(x, w)", "N,5,4,4", ("values", None)),
        ("z = Conv(x, w)  y = Softmax<axis=1>(z)", "N,5,4,4", ("probabilities", 1)),
        ("z = Conv(x, w)  y = Softmax<axis=-3>(z)", "N,5,4,4", ("probabilities", 1)),
        ("z = Conv(x, w)  y = Sigmoid(z)", "N,5,4,4", ("binary", None)),
        (
            "z = Conv(x, w)  s = Softmax<axis=1>(z)  y = Transpose<perm=[0,2,3,1]>(s)",
            "N,4,4,5",
            ("probabilities", 3),
        ),
        (
            "z = Conv(x, w)  p = GlobalAveragePool(z)  s = Softmax<axis=1>(p)  y = Flatten(s)",
            "N,5",
            ("probabilities", 1),
        ),
    ],
)
def test_output_of_a_convolution(body, shape, expected):
    assert _targets(body, IMAGE, f"float[{shape}] y") == [expected]


def test_softmax_over_several_axes_at_once_is_no_axis_of_classes():
    assert _targets("z = Conv(x, w)  y = Softmax<axis=1>(z)", IMAGE, "float[N,5,4,4] y", opset=11) == [("values", None)]


def test_ordinary_scores_are_values_when_asked():
    assert _targets("y = MatMul(x, w)", scores=False) == [("values", None)]


def test_integers_are_ignored():
    body, outputs = "y = MatMul(x, w)  k = ArgMax<axis=1>(y)", "float[N,5] y, int64[N,1] k"
    assert _targets(body, outputs=outputs) == [("classes", 1), ("ignored", None)]


def test_labels_prefer_scores_to_values():
    targets = (Target("v", "values"), Target("c", "classes", 1))
    assert find_label_target(targets, [(6, 4), (6, 5)], (100,), True) == LabelTarget(1, 1)
    assert find_label_target(targets[:1], [(6, 4)], (100,), True) == LabelTarget(0, 1)


def test_axis_of_a_softmax_is_not_overruled_by_labels():
    targets = (Target("p", "probabilities", 1),)
    assert find_label_target(targets, [(6, 7, 7)], (100, 7), True) == LabelTarget(0, 1)
    assert find_label_target(targets, [(6, 7, 5)], (100, 7), True) is None


@pytest.mark.parametrize(
    ("target", "shape", "labels", "integer"),
    [
        (Target("y", "classes", 1), (6, 5), (100, 5), False),
        (Target("y", "binary"), (6, 5), (100, 5), True),
        (Target("y", "binary"), (6, 1), (100,), True),
        (Target("y", "binary"), (6, 3, 4, 1), (100, 3, 4), False),
    ],
)
def test_numbers_fit_an_output_of_their_shape(target, shape, labels, integer):
    assert find_label_target((target,), [shape], labels, integer) == LabelTarget(0, None)


@pytest.mark.parametrize(
    ("target", "shape", "labels", "integer"),
    [
        (Target("y", "classes", 1), (6, 5), (100,), False),
        (Target("y", "values"), (6, 5, 3), (100, 5, 3), False),
        (Target("y", "values"), (6, 1), (100,), True),
        (Target("y", "ignored"), (6, 5), (100,), True),
        (Target("y", "values"), (), (100,), True),
    ],
)
def test_labels_that_fit_nothing(target, shape, labels, integer):
    assert find_label_target((target,), [shape], labels, integer) is None
