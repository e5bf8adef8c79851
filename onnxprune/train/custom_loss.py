"""The user's loss, with its answers checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import DataError, UsageError
from onnxprune.train.custom import load_callable

__all__ = ["CustomLoss", "load_loss"]

Tensors = Mapping[str, torch.Tensor]


class CustomLoss:
    """A loss of the user's.

    Args:
        function: Called as function(student, teacher, labels): tensors by output name, floats in
            float32, the teacher's without gradient; the labels as the data has them, or None. It
            gives a scalar tensor to minimise.
        text: What messages call it.
    """

    def __init__(self, function: Callable[..., Any], text: str) -> None:
        self._function = function
        self._text = text
        self._tried = False

    def __call__(self, student: Tensors, teacher: Tensors, labels: torch.Tensor | None) -> torch.Tensor:
        """Returns the loss of a batch.

        Whether it is finite is looked at once: later the training loop sees to it.

        Raises:
            DataError: when the function raises, or its first answer is not finite.
            UsageError: when it gives anything but a scalar tensor with gradient.
        """
        try:
            found = self._function(dict(student), dict(teacher), labels)
        except Exception as error:
            raise DataError(f"loss = {self._text!r} failed: {describe_exception(error)}.") from error
        wanted = "expected a scalar tensor that depends on the student's outputs"
        if not isinstance(found, torch.Tensor):
            raise UsageError(f"loss = {self._text!r} gave a {type(found).__name__}; {wanted}.")
        if found.dim() != 0 or not found.is_floating_point():
            raise UsageError(f"loss = {self._text!r} gave a tensor {found.dtype} {list(found.shape)}; {wanted}.")
        if torch.is_grad_enabled() and not found.requires_grad:
            raise UsageError(f"loss = {self._text!r} gave a tensor without gradient; {wanted}, not detached.")
        if not self._tried:
            self._tried = True
            value = float(found.detach())
            if not math.isfinite(value):
                raise DataError(f"loss = {self._text!r} gave {value} for the first batch; expected a finite number.")
        return found


def load_loss(text: str) -> CustomLoss | None:
    """Returns the loss that `text` names, or None for the empty text.

    Raises:
        UsageError, DataError: as `load_callable`.
    """
    return CustomLoss(load_callable(text, "loss"), text) if text else None
