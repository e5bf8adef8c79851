"""Distillation of inner tensors against its formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs import model_of

from onnxprune.bridge import to_torch
from onnxprune.core.errors import ModelError, UsageError
from onnxprune.train.features import FeatureLoss, attention_error, channel_error

NET = """g (float[N,3,4,4] x, float[6,3,1,1] w, float[5,6,1,1] v) => (float[N,5,4,4] y) {
  hidden = Conv(x, w)
  active = Relu(hidden)
  y = Conv(active, v)
}"""


def _random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * torch.arange(1.0, shape[1] + 1).reshape(
        1, -1, *[1] * (len(shape) - 2)
    )


def _loss(student, teacher, keep=None, names=("hidden",)):
    return FeatureLoss(to_torch(model_of(NET)), names, keep)({"hidden": student}, {"hidden": teacher}).item()


def _by_hand(student, teacher):
    s, t = (a.double().numpy() for a in (student, teacher))
    spread = t.var((0, 2, 3))
    return (((s - t) ** 2).mean((0, 2, 3)) / (spread + 0.01 * spread.mean())).mean()


def test_channels_are_compared_in_units_of_their_own_spread():
    teacher, student = _random(8, 6, 4, 4), _random(8, 6, 4, 4, seed=1)
    assert _loss(student, teacher) == pytest.approx(_by_hand(student, teacher), rel=1e-4)


def test_same_features_have_no_distance():
    teacher = _random(8, 6, 4, 4)
    assert _loss(teacher, teacher) == 0


def test_pruned_student_is_compared_with_the_channels_kept():
    teacher, student, kept = _random(8, 6, 4, 4), _random(8, 3, 4, 4, seed=1), np.array([5, 0, 2])
    found = _loss(student, teacher, {"hidden": (1, kept)})
    assert found == pytest.approx(_by_hand(student, teacher[:, kept]), rel=1e-4)


def test_channel_that_never_varies_does_not_dominate():
    teacher = _random(8, 6, 4, 4)
    teacher[:, 0] = 3.0
    assert float(channel_error(teacher + 1e-3, teacher, 1)) < 1e-2


def test_constant_features_give_a_finite_loss():
    teacher = torch.full((8, 6, 4, 4), 2.0)
    assert np.isfinite(float(channel_error(teacher, teacher, 1)))


def test_unknown_channels_are_compared_by_their_maps():
    teacher, student = _random(8, 6, 4, 4), _random(8, 3, 4, 4, seed=1)
    s, t = (a.double().square().mean(1).flatten(1).numpy() for a in (student, teacher))
    s, t = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (s, t))
    assert _loss(student, teacher) == pytest.approx(((s - t) ** 2).sum(1).mean(), rel=1e-4)


def test_maps_do_not_depend_on_scale():
    teacher = _random(8, 6, 4, 4)
    assert float(attention_error(teacher * 3, teacher, 1)) == pytest.approx(0, abs=1e-10)


def test_loss_is_the_mean_over_tensors():
    loss = FeatureLoss(to_torch(model_of(NET)), ("hidden", "active"))
    a, b, zero = _random(8, 6, 4, 4), _random(8, 6, 4, 4, seed=1), _random(8, 6, 4, 4, seed=2)
    found = loss({"hidden": a, "active": zero}, {"hidden": b, "active": zero})
    assert found.item() == pytest.approx(_by_hand(a, b) / 2, rel=1e-4)


def test_gradient_reaches_the_student_only():
    teacher, student = _random(8, 6, 4, 4), _random(8, 6, 4, 4, seed=1).requires_grad_()
    FeatureLoss(to_torch(model_of(NET)), ("hidden",))({"hidden": student}, {"hidden": teacher}).backward()
    assert float(student.grad.abs().sum()) > 0


def test_unknown_name_lists_near_ones():
    with pytest.raises(UsageError, match=r"a tensor called 'hiden'\. Did you mean hidden\?"):
        FeatureLoss(to_torch(model_of(NET)), ("hiden",))


def test_name_like_no_other_lists_some():
    with pytest.raises(UsageError, match=r"called 'q9'\. It has, among others: hidden, active, y\."):
        FeatureLoss(to_torch(model_of(NET)), ("q9",))


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        (torch.zeros(8, 6), torch.zeros(8, 6, 4), r"\[8, 6\]; expected floating values"),
        (torch.zeros(8), torch.zeros(8), r"\[8\]; expected floating values"),
        (torch.zeros(8, 6, dtype=torch.int64), torch.zeros(8, 6), "int64"),
        (torch.zeros(8, 6, 4, 4), torch.zeros(8, 5, 4, 3), "only the number of channels may differ"),
        (torch.zeros(4, 6, 4, 4), torch.zeros(8, 6, 4, 4), "only the number of channels may differ"),
    ],
)
def test_tensors_that_cannot_be_compared_are_a_model_error(student, teacher, said):
    with pytest.raises(ModelError, match=said):
        _loss(student, teacher)
