"""Distillation and label losses against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from graphs import model_of

from onnxprune.bridge import to_torch
from onnxprune.core.errors import DataError, ModelError
from onnxprune.train import TrainOptions
from onnxprune.train.losses import Objective, as_tuple


def _objective(text, options=None, **inputs):
    module = to_torch(model_of(text))
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = as_tuple(module(x))
    return Objective(module, outputs, options or TrainOptions()), outputs


LOGITS = "g (float[N,4] x, float[4,5] w) => (float[N,5] y) { y = MatMul(x, w) }"
PROBABILITIES = "g (float[N,4] x, float[4,5] w) => (float[N,5] y) { z = MatMul(x, w)  y = Softmax(z) }"


def _softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_soft_loss_is_scaled_divergence():
    objective, (target,) = _objective(LOGITS, TrainOptions(temperature=3.0))
    student = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    p, q = (_softmax(z.double().numpy() / 3.0) for z in (target, student))
    expected = 9.0 * (p * np.log(p / q)).sum(1).mean()
    assert objective.loss((student,), (target,), None).item() == pytest.approx(expected, rel=1e-5)
    assert objective.loss((target,), (target,), None).item() == pytest.approx(0, abs=1e-6)


def test_labels_mix_in_with_their_share():
    objective, (target,) = _objective(LOGITS, TrainOptions(temperature=1.0, distill_weight=0.25))
    student = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    p, q = (_softmax(z.double().numpy()) for z in (target, student))
    soft = (p * np.log(p / q)).sum(1).mean()
    hard = -np.log(q[np.arange(6), labels.numpy()]).mean()
    found = objective.loss((student,), (target,), labels).item()
    assert found == pytest.approx(0.25 * soft + 0.75 * hard, rel=1e-5)


def test_softmax_outputs_are_taken_as_probabilities():
    objective, (target,) = _objective(PROBABILITIES, TrainOptions(temperature=1.0))
    student = torch.tensor(_softmax(np.random.default_rng(0).standard_normal((6, 5)))).float()
    p, q = target.double().numpy(), student.double().numpy()
    assert objective.kinds == ("probabilities",)
    assert objective.loss((student,), (target,), None).item() == pytest.approx(
        (p * np.log(p / q)).sum(1).mean(), rel=1e-4
    )


def test_other_outputs_are_matched_relative_to_their_spread():
    objective, (target,) = _objective(
        "g (float[N,4] x) => (float[N,4,1] y) { a = Constant<value = int64[1] {2}>()  y = Unsqueeze(x, a) }"
    )
    assert objective.kinds == ("values",)
    assert objective.classes is None
    off = target + target.std(correction=0) * 0.5
    assert objective.loss((off,), (target,), None).item() == pytest.approx(0.25, rel=1e-4)


def test_losses_of_several_outputs_add_up():
    text = """g (float[N,4] x, float[4,5] w) => (float[N,5] y, float[N,4,1] z, int64[N] k) {
      y = MatMul(x, w)
      a = Constant<value = int64[1] {2}>()
      z = Unsqueeze(x, a)
      k = ArgMax<axis=1, keepdims=0>(y)
    }"""
    objective, outputs = _objective(text)
    assert objective.kinds == ("classes", "values", "ignored")
    student = (outputs[0] * 0.5, outputs[1] * 0.5, outputs[2])
    parts = [
        objective.loss((student[0], *outputs[1:]), outputs, None),
        objective.loss((outputs[0], *student[1:]), outputs, None),
    ]
    assert objective.loss(student, outputs, None).item() == pytest.approx(sum(p.item() for p in parts), rel=1e-5)


def test_score_counts_hits_on_labels_or_on_the_teacher():
    objective, (target,) = _objective(LOGITS)
    labels = target.argmax(1).clone()
    labels[:2] = (labels[:2] + 1) % 5
    assert objective.score((target,), (target,), labels).item() == 4
    assert objective.score((target,), (target,), None).item() == 6
    assert (objective.metric_name(True), objective.metric_name(False)) == ("accuracy", "agreement")


def test_label_beyond_the_classes_is_a_data_error():
    objective, (target,) = _objective(LOGITS)
    with pytest.raises(DataError, match=r"Label 5.*5 classes"):
        objective.loss((target,), (target,), torch.tensor([0, 1, 2, 3, 4, 5]))


def test_model_without_float_outputs_cannot_be_trained():
    with pytest.raises(ModelError, match="outputs k"):
        _objective("g (float[N,4] x) => (int64[N] k) { k = ArgMax<axis=1, keepdims=0>(x) }")


def test_confident_probabilities_give_a_finite_loss():
    objective, _ = _objective(PROBABILITIES)
    hard = torch.eye(5)
    assert math.isfinite(objective.loss((hard.roll(1, 0),), (hard,), None).item())
