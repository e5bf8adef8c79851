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
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("temperature", 0.0),
        ("warmup", 1.5),
        ("distill_weight", -0.1),
        ("momentum", 2.0),
        ("weight_decay", -1.0),
        ("device", "tpu"),
    ],
)
def test_value_outside_its_domain_is_refused(name, value):
    with pytest.raises(UsageError, match=name):
        TrainOptions(**{name: value})
