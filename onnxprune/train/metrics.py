"""How good a student's outputs are: counts over a batch, summed over its samples, higher is better."""

from __future__ import annotations

import torch

from onnxprune.core.class_axis import IGNORED_LABEL

__all__ = ["element_score", "position_score"]


def position_score(scores: torch.Tensor, aims: torch.Tensor, axis: int) -> torch.Tensor:
    """Returns the share of positions whose largest score is the aimed class, times the number of samples.

    With one position per sample that is the number of samples that hit.

    Args:
        scores: Float [batch, …] with classes along `axis`.
        aims: int64, the same shape without that axis; positions at `IGNORED_LABEL` do not count.
        axis: Where the classes are.
    """
    return _share(scores.argmax(axis) == aims, aims != IGNORED_LABEL, len(scores))


def element_score(logits: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
    """Returns the share of elements on the aimed side of zero, times the number of samples.

    Args:
        logits: Float [batch, …].
        aims: Numbers of the same shape, "yes" above one half; elements at `IGNORED_LABEL` do not count.
    """
    return _share((logits > 0) == (aims > 0.5), aims != IGNORED_LABEL, len(logits))


def _share(hits: torch.Tensor, counted: torch.Tensor, samples: int) -> torch.Tensor:
    return (hits & counted).sum().double() * samples / counted.sum().clamp_min(1)
