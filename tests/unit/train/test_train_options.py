"""Options outside their domain are usage errors that name the option."""

from __future__ import annotations

import pytest

from onnxprune.core.errors import UsageError
from onnxprune.train import TrainOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("seed", -1),
        ("early_stop", -1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("temperature", 0.0),
        ("original_epochs", 0.0),
        ("final_lr_ratio", 1.5),
        ("distill_weight", -0.1),
        ("distill_weight", 1.1),
        ("label_smoothing", 1.1),
        ("feature_weight", -1.0),
        ("momentum", 1.0),
        ("ema", 1.0),
        ("weight_decay", -1.0),
        ("grad_clip", -1.0),
        ("checkpoint_seconds", -1.0),
        ("schedule_epochs", 2),
        ("schedule_start", 1),
        ("optimizer", "lion"),
        ("schedule", "triangle"),
        ("original_decay", "none"),
        ("distill", "kl"),
        ("amp", "fp8"),
        ("device", "tpu"),
    ],
)
def test_value_outside_its_domain_is_refused(name, value):
    with pytest.raises(UsageError, match=name):
        TrainOptions(**{name: value})


def test_warmup_is_checked_with_its_schedule():
    assert TrainOptions(schedule="cosine", warmup=0.2).schedule_options.warmup == 0.2
    with pytest.raises(UsageError, match="warmup"):
        TrainOptions(schedule="cosine", warmup=1.5)


def test_defaults_follow_the_optimizer():
    sgd, adamw = TrainOptions(), TrainOptions(optimizer="adamw")
    assert (sgd.peak_lr, sgd.decay) == (0.05, 5e-4)
    assert (adamw.peak_lr, adamw.decay) == (1e-3, 0.01)
    given = TrainOptions(optimizer="adamw", lr=0.5, weight_decay=0.0)
    assert (given.peak_lr, given.decay) == (0.5, 0.0)


def test_schedule_options_carry_what_was_given():
    found = TrainOptions(schedule="lrw", lr=0.2, original_epochs=7, original_decay="step").schedule_options
    assert (found.name, found.peak, found.original_epochs, found.original_decay) == ("lrw", 0.2, 7, "step")
