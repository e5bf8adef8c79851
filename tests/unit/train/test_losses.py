"""The objective against its formulas: distillation, labels, the user's loss and metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from graphs import model_of

from onnxprune.bridge import to_torch
from onnxprune.core.errors import DataError, ModelError, UsageError
from onnxprune.train import TrainOptions
from onnxprune.train.losses import Objective, Outputs, as_tuple

LOGITS = "g (float[N,4] x, float[4,5] w) => (float[N,5] y) { y = MatMul(x, w) }"
PROBABILITIES = "g (float[N,4] x, float[4,5] w) => (float[N,5] y) { z = MatMul(x, w)  y = Softmax(z) }"
LOG_PROBABILITIES = "g (float[N,4] x, float[4,5] w) => (float[N,5] y) { z = MatMul(x, w)  y = LogSoftmax(z) }"
SIGMOIDS = "g (float[N,4] x, float[4,5] w) => (float[N,5] y) { z = MatMul(x, w)  y = Sigmoid(z) }"
SIGMOID = "g (float[N,4] x, float[4,1] w) => (float[N,1] y) { z = MatMul(x, w)  y = Sigmoid(z) }"
VALUES = "g (float[N,4] x) => (float[N,4,1] y) { a = Constant<value = int64[1] {2}>()  y = Unsqueeze(x, a) }"
TOKENS = "g (float[N,7,4] x, float[4,5] w) => (float[N,7,5] y) { y = MatMul(x, w) }"
PIXELS = "g (float[N,3,4,4] x, float[5,3,1,1] w) => (float[N,5,4,4] y) { y = Conv(x, w) }"


def _outputs(text, *shape, seed=0):
    """The module of a graph, and its outputs for random inputs [6, …]."""
    module = to_torch(model_of(text))
    x = torch.randn(6, *(shape or (4,)), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return module, Outputs(as_tuple(module(x)))


def _objective(text, *shape, labels=None, **options):
    """The objective of a graph, and its teacher's outputs."""
    module, outputs = _outputs(text, *shape)
    return Objective(module, outputs.values, TrainOptions(**options), labels_shape=labels), outputs


def _like(outputs, seed=1):
    """Other random class scores."""
    return Outputs(tuple(torch.randn(t.shape, generator=torch.Generator().manual_seed(seed)) for t in outputs.values))


def _log_softmax(z, axis=1):
    z = z.double().numpy()
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def _divergence(teacher, student, temperature=1.0, axis=1):
    q, p = _log_softmax(teacher / temperature, axis), _log_softmax(student / temperature, axis)
    return temperature**2 * (np.exp(q) * (q - p)).sum(axis).mean()


def test_soft_loss_is_scaled_divergence():
    objective, teacher = _objective(LOGITS, temperature=3.0)
    student = _like(teacher)
    expected = _divergence(teacher.values[0], student.values[0], 3.0)
    assert objective.loss(student, teacher, None).item() == pytest.approx(expected, rel=1e-5)
    assert objective.loss(teacher, teacher, None).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("text", "function"), [(PROBABILITIES, torch.softmax), (LOG_PROBABILITIES, torch.log_softmax)])
def test_probabilities_give_the_loss_of_their_scores(text, function):
    objective, teacher = _objective(text, temperature=2.0)
    scores = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    _, plain = _outputs(LOGITS)
    student = Outputs((function(scores, 1),))
    expected = _divergence(plain.values[0], scores, 2.0)
    assert objective.loss(student, teacher, None).item() == pytest.approx(expected, rel=1e-4)


def test_sigmoid_outputs_give_a_binary_divergence():
    objective, teacher = _objective(SIGMOIDS, temperature=2.0)
    _, plain = _outputs(LOGITS)
    scores = _like(plain).values[0]
    q, p = (1 / (1 + np.exp(-z.double().numpy() / 2)) for z in (plain.values[0], scores))
    expected = 4 * (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean()
    assert objective.kinds == ("binary",)
    found = objective.loss(Outputs((scores.sigmoid(),)), teacher, None)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_other_outputs_are_matched_relative_to_their_spread():
    objective, teacher = _objective(VALUES)
    target = teacher.values[0]
    off = Outputs((target + target.std(correction=0) * 0.5,))
    assert objective.kinds == ("values",)
    assert objective.loss(off, teacher, None).item() == pytest.approx(0.25, rel=1e-4)


def test_constant_values_are_matched_relative_to_their_size():
    objective, _ = _objective(VALUES)
    student, teacher = (Outputs((torch.full((6, 4, 1), value),)) for value in (3.0, 2.0))
    assert objective.loss(student, teacher, None).item() == pytest.approx(0.25, rel=1e-4)


def test_cosine_leaves_the_length_of_values_aside():
    objective, teacher = _objective(VALUES, distill="cosine")
    turned = teacher.values[0] * torch.tensor([1.0, -2.0]).repeat(3)[:, None, None]
    assert objective.loss(Outputs((turned,)), teacher, None).item() == pytest.approx(1.0, rel=1e-5)


def test_scores_are_values_when_the_user_says_so_and_no_label_speaks_of_them():
    module, teacher = _outputs(LOGITS)
    student = _like(teacher)
    a, b = student.values[0].double(), teacher.values[0].double()
    cosine = (a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)
    objective = Objective(module, teacher.values, TrainOptions(distill="cosine"))
    assert objective.loss(student, teacher, None).item() == pytest.approx((1 - cosine).mean().item(), rel=1e-5)
    labelled = Objective(module, teacher.values, TrainOptions(distill="cosine"), labels_shape=(6,))
    assert labelled.kinds == ("classes",)


def test_losses_of_several_outputs_add_up():
    text = """g (float[N,4] x, float[4,5] w) => (float[N,5] y, float[N,4,1] z, int64[N] k) {
      y = MatMul(x, w)
      a = Constant<value = int64[1] {2}>()
      z = Unsqueeze(x, a)
      k = ArgMax<axis=1, keepdims=0>(y)
    }"""
    objective, teacher = _objective(text)
    y, z, k = teacher.values
    assert objective.kinds == ("classes", "values", "ignored")
    parts = [objective.loss(Outputs(values), teacher, None).item() for values in ((y * 0.5, z, k), (y, z * 0.5, k))]
    both = objective.loss(Outputs((y * 0.5, z * 0.5, k)), teacher, None).item()
    assert both == pytest.approx(sum(parts), rel=1e-5)


def test_labels_mix_in_with_their_share():
    objective, teacher = _objective(LOGITS, temperature=1.0, distill_weight=0.25)
    student, labels = _like(teacher), torch.tensor([0, 1, 2, 3, 4, 0])
    soft = _divergence(teacher.values[0], student.values[0])
    hard = -_log_softmax(student.values[0])[np.arange(6), labels.numpy()].mean()
    found = objective.loss(student, teacher, labels).item()
    assert found == pytest.approx(0.25 * soft + 0.75 * hard, rel=1e-5)


def test_label_smoothing_spreads_its_share_over_all_classes():
    objective, teacher = _objective(LOGITS, distill_weight=0.0, label_smoothing=0.2)
    student, labels = _like(teacher), torch.tensor([0, 1, 2, 3, 4, 0])
    log_p = _log_softmax(student.values[0])
    expected = -(0.8 * log_p[np.arange(6), labels.numpy()] + 0.2 * log_p.mean(1)).mean()
    assert objective.loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("text", "shape", "axis"), [(TOKENS, (7, 4), 2), (PIXELS, (3, 4, 4), 1)])
def test_labels_tell_which_axis_of_a_dense_output_holds_classes(text, shape, axis):
    objective, teacher = _objective(text, *shape, temperature=1.0, distill_weight=0.25)
    student = _like(teacher)
    positions = [s for i, s in enumerate(teacher.values[0].shape) if i != axis]
    labels = torch.randint(5, positions, generator=torch.Generator().manual_seed(0))
    labels[0] = -100
    log_p = np.moveaxis(_log_softmax(student.values[0], axis), axis, -1)[1:]
    hard = -np.take_along_axis(log_p, labels[1:, ..., None].numpy(), -1).mean()
    soft = _divergence(teacher.values[0], student.values[0], axis=axis)
    found = objective.loss(student, teacher, labels).item()
    assert found == pytest.approx(0.25 * soft + 0.75 * hard, rel=1e-5)


def test_shape_of_the_labels_settles_dense_outputs_before_the_first_batch():
    assert _objective(PIXELS, 3, 4, 4)[0].kinds == ("values",)
    assert _objective(PIXELS, 3, 4, 4, labels=(1000, 4, 4))[0].kinds == ("classes",)


def test_batch_without_any_counted_label_is_distilled_only():
    objective, teacher = _objective(LOGITS, distill_weight=0.25)
    student = _like(teacher)
    soft = objective.loss(student, teacher, None).item()
    found = objective.loss(student, teacher, torch.full((6,), -100)).item()
    assert found == pytest.approx(0.25 * soft, rel=1e-5)


@pytest.mark.parametrize("text", [LOGITS, SIGMOIDS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_labels_for_each_class_give_a_binary_loss(text, dtype):
    objective, teacher = _objective(text, distill_weight=0.0)
    _, plain = _outputs(LOGITS)
    scores = _like(plain).values[0]
    labels = (torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.5).to(dtype)
    p, y = 1 / (1 + np.exp(-scores.double().numpy())), labels.double().numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    student = Outputs((scores if text == LOGITS else scores.sigmoid(),))
    assert objective.loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-4)


def test_class_index_of_sigmoid_outputs_counts_as_one_yes():
    objective, teacher = _objective(SIGMOIDS, distill_weight=0.0)
    student, labels = Outputs((_like(teacher).values[0].sigmoid(),)), torch.tensor([0, 1, -100, 3, 4, 0])
    p, y = student.values[0].double().numpy(), np.eye(5)[[0, 1, 3, 4, 0]]
    p = p[[0, 1, 3, 4, 5]]
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert objective.loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-4)


def test_binary_labels_fit_an_output_with_an_axis_of_one():
    objective, teacher = _objective(SIGMOID, distill_weight=0.0, labels=(100,))
    student, labels = Outputs((teacher.values[0] * 0.5,)), torch.tensor([0, 1, 0, 1, 1, 1])
    p, y = student.values[0][:, 0].double().numpy(), labels.double().numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert objective.loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("text", [PROBABILITIES, SIGMOIDS])
def test_confident_probabilities_give_a_finite_loss(text):
    objective, _ = _objective(text)
    hard = torch.eye(5)
    assert math.isfinite(objective.loss(Outputs((hard.roll(1, 0),)), Outputs((hard,)), None).item())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_outputs_are_compared_in_float32(dtype):
    objective, teacher = _objective(LOGITS)
    narrow = Outputs(tuple(t.to(dtype) for t in _like(teacher).values))
    wide = Outputs(tuple(t.float() for t in narrow.values))
    assert torch.equal(objective.loss(narrow, teacher, None), objective.loss(wide, teacher, None))


@pytest.mark.parametrize("label", [5, -1])
def test_label_out_of_range_is_a_data_error(label):
    objective, teacher = _objective(LOGITS)
    with pytest.raises(DataError, match=rf"Label {label} is out of range: the model gives 5 classes, 0\.\.4"):
        objective.loss(teacher, teacher, torch.tensor([0, 1, 2, 3, 4, label]))


def test_label_of_a_class_beyond_one_is_a_data_error():
    objective, teacher = _objective(SIGMOIDS)
    with pytest.raises(DataError, match=r"Label 2 is out of range: the model takes numbers in 0\.\.1"):
        objective.loss(teacher, teacher, torch.full((6, 5), 2.0))


def test_all_labels_are_checked_at_once():
    objective, _ = _objective(LOGITS, labels=(100,))
    objective.check_labels(np.array([0, 4, -100, 3]))
    with pytest.raises(DataError, match="Label 7 is out of range"):
        _objective(LOGITS, labels=(100,))[0].check_labels(np.array([0, 7]))


def test_checked_labels_are_not_looked_at_again(monkeypatch):
    objective, teacher = _objective(LOGITS, labels=(6,))
    labels = np.zeros(6, np.int64)
    objective.check_labels(labels)
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("waits for the device"))
    objective.loss(teacher, teacher, torch.from_numpy(labels))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.zeros(6), r"Labels are float32 \[6\]; output 'y' of shape \[6, 5\] needs integers \['samples'\]"),
        (torch.zeros(6, 2, dtype=torch.int64), r"Labels are int64 \[6, 2\]"),
    ],
)
def test_labels_unlike_those_announced_are_a_data_error(labels, said):
    objective, teacher = _objective(LOGITS, labels=(6,))
    with pytest.raises(DataError, match=said):
        objective.loss(teacher, teacher, labels)


def test_labels_that_fit_no_output_are_left_aside_and_said():
    objective, teacher = _objective(VALUES, labels=(1000,))
    student, labels = _like(teacher), torch.zeros(6, dtype=torch.int64)
    assert torch.equal(objective.loss(student, teacher, labels), objective.loss(student, teacher, None))
    assert objective.notes == (
        "Labels ['samples'] fit none of the outputs (y [6, 4, 1]); training is by distillation alone.",
    )


def test_model_without_float_outputs_cannot_be_trained():
    with pytest.raises(ModelError, match="outputs k"):
        _objective("g (float[N,4] x) => (int64[N] k) { k = ArgMax<axis=1, keepdims=0>(x) }")


def test_score_counts_hits_on_labels_or_on_the_teacher():
    objective, teacher = _objective(LOGITS, labels=(6,))
    labels = teacher.values[0].argmax(1).clone()
    labels[:2] = (labels[:2] + 1) % 5
    assert objective.score(teacher, teacher, labels).item() == 4
    assert objective.score(teacher, teacher, None).item() == 6
    assert (objective.metric_name(True), objective.metric_name(False)) == ("accuracy", "agreement")


def test_score_of_values_is_the_negative_loss():
    objective, teacher = _objective(VALUES)
    student = _like(teacher)
    expected = -6 * objective.loss(student, teacher, None).item()
    assert objective.score(student, teacher, None).item() == pytest.approx(expected, rel=1e-6)
    assert objective.metric_name(True) == objective.metric_name(False) == "negative loss"


def test_score_of_sigmoid_outputs_counts_sides():
    objective, teacher = _objective(SIGMOIDS)
    student = Outputs((torch.where(torch.arange(5) < 2, 1 - teacher.values[0], teacher.values[0]),))
    assert objective.score(student, teacher, None).item() == pytest.approx(6 * 3 / 5)
    assert objective.metric_name(False) == "agreement"


def _user(monkeypatch, **functions):
    """Names functions as those of a module of the user's."""
    monkeypatch.setattr("onnxprune.train.custom_loss.load_callable", lambda text, what: functions[what])
    monkeypatch.setattr("onnxprune.train.custom.load_callable", lambda text, what: functions[what])
    return dict.fromkeys(functions, "mine:f")


def test_loss_of_the_users_stands_for_the_whole(monkeypatch):
    def loss(student, teacher, labels):
        return (student["y"] - teacher["y"]).abs().sum() + labels.sum()

    objective, teacher = _objective(LOGITS, **_user(monkeypatch, loss=loss))
    student = Outputs((teacher.values[0].half().requires_grad_(),))
    found = objective.loss(student, teacher, torch.full((6,), 4))
    expected = (student.values[0].float() - teacher.values[0]).abs().sum() + 24
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    assert student.values[0].grad is not None


def _raise(student, teacher, labels):
    raise RuntimeError("no way")


@pytest.mark.parametrize(
    ("loss", "error", "said"),
    [
        (_raise, DataError, r"loss = 'mine:f' failed: RuntimeError: no way \(test_losses\.py, line \d+\)"),
        (lambda s, t, labels: 1.0, UsageError, "gave a float; expected a scalar tensor"),
        (lambda s, t, labels: s["y"], UsageError, r"gave a tensor torch\.float32 \[6, 5\]"),
        (lambda s, t, labels: s["y"].argmax(), UsageError, r"gave a tensor torch\.int64 \[\]"),
        (lambda s, t, labels: t["y"].sum(), UsageError, "without gradient"),
        (lambda s, t, labels: (s["y"] * torch.inf).sum(), DataError, "gave .* for the first batch"),
    ],
)
def test_loss_of_the_users_that_gives_nonsense_is_refused(monkeypatch, loss, error, said):
    objective, teacher = _objective(LOGITS, **_user(monkeypatch, loss=loss))
    student = Outputs((teacher.values[0].clone().requires_grad_(),))
    with pytest.raises(error, match=said):
        objective.loss(student, teacher, None)


def test_score_of_the_users_loss_needs_no_gradient(monkeypatch):
    objective, teacher = _objective(VALUES, **_user(monkeypatch, loss=lambda s, t, labels: s["y"].square().mean()))
    with torch.no_grad():
        score = objective.score(teacher, teacher, None)
    assert score.item() == pytest.approx(-6 * teacher.values[0].square().mean().item(), rel=1e-6)


def test_metric_of_the_users_gets_arrays_and_counts_samples(monkeypatch):
    def metric(outputs, labels, teacher):
        return outputs["y"].dtype == np.float32 and labels.dtype == np.int64 and teacher["y"].shape == (6, 5)

    objective, teacher = _objective(LOGITS, **_user(monkeypatch, metric=metric))
    student = Outputs((teacher.values[0].bfloat16().requires_grad_(),))
    assert objective.score(student, teacher, torch.zeros(6, dtype=torch.int64)).item() == 6
    assert objective.metric_name(True) == "mine:f"


def test_features_join_the_loss_with_their_weight():
    text = "g (float[N,4] x, float[4,6] v, float[6,5] w) => (float[N,5] y) { h = MatMul(x, v)  y = MatMul(h, w) }"
    module, teacher = _outputs(text)
    options = TrainOptions(feature_weight=0.5, features=("h",))
    objective = Objective(module, teacher.values, options)
    h = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    given = Outputs(teacher.values, {"h": h})
    off = Outputs(teacher.values, {"h": h + 1})
    assert objective.features == ("h",)
    assert objective.loss(given, given, None).item() == pytest.approx(0, abs=1e-6)
    spread = h.var(0, correction=0)
    expected = 0.5 * (1 / (spread + 0.01 * spread.mean())).mean().item()
    assert objective.loss(off, given, None).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", [{"features": ("y",)}, {"feature_weight": 1.0}])
def test_features_and_their_weight_go_together(options):
    with pytest.raises(UsageError, match=r"(?i)give both"):
        _objective(LOGITS, **options)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_of_nothing_is_not_worked_out(share, monkeypatch):
    objective, teacher = _objective(LOGITS, distill_weight=share)
    monkeypatch.setattr(Objective, "_soft" if share == 0 else "_hard", lambda *a: pytest.fail("worked out"))
    assert objective.loss(teacher, teacher, torch.zeros(6, dtype=torch.int64)).dim() == 0


def test_labels_that_the_score_would_refuse_are_refused_by_a_loss_of_the_users(monkeypatch):
    objective, teacher = _objective(LOGITS, **_user(monkeypatch, loss=lambda s, t, labels: s["y"].sum()))
    student = Outputs((teacher.values[0].clone().requires_grad_(),))
    with pytest.raises(DataError, match=r"Label 9 is out of range.*need a loss and a metric of your own"):
        objective.loss(student, teacher, torch.full((6,), 9))


def test_labels_of_another_meaning_are_the_users_business(monkeypatch):
    functions = {"loss": lambda s, t, labels: s["y"].sum() * labels.sum(), "metric": lambda o, labels, t: labels.mean()}
    objective, teacher = _objective(LOGITS, **_user(monkeypatch, **functions))
    student, labels = Outputs((teacher.values[0].clone().requires_grad_(),)), torch.full((6,), 9)
    assert objective.loss(student, teacher, labels).requires_grad
    assert objective.score(student, teacher, labels).item() == 54


def test_numbers_for_each_class_are_settled_before_the_first_batch():
    module, teacher = _outputs(LOGITS)
    objective = Objective(module, teacher.values, TrainOptions(), labels_shape=(9, 5), labels_integer=False)
    assert objective.metric_name(True) == "accuracy"
