"""Distillation of inner tensors: the student's are drawn to the teacher's.

A tensor with its channels along axis c is compared channel by channel, each channel k in units
of the teacher's own spread, so that loud channels do not drown the others:

    L = mean over k of  mean (s_k − t_k)² / (var(t_k) + 0.01 · mean over j of var(t_j))

The second term keeps channels that hardly vary from dominating. Where channels were pruned,
s is compared with the teacher's channels that were kept. Where it is not known which were
kept, maps of attention are: with a = the mean of squares over channels, one map per sample,

    L = mean over samples of  ‖ a_s / ‖a_s‖ − a_t / ‖a_t‖ ‖²

(Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import ModelError, UsageError

__all__ = ["FeatureKeep", "FeatureLoss", "attention_error", "channel_error"]

FeatureKeep = Mapping[str, tuple[int, NDArray[np.integer[Any]]]]
"""Tensor name → (axis of its channels, the teacher's channels that the student kept)."""

_FLOOR = 0.01
_SMALLEST = 1e-12


class FeatureLoss:
    """The mean distance over some named tensors.

    Args:
        teacher: Has the tensors.
        names: Tensors that both models compute.
        keep: For those with pruned channels, which were kept.

    Raises:
        UsageError: when the teacher computes no tensor of that name; near names are listed.
    """

    def __init__(self, teacher: OnnxModule, names: Sequence[str], keep: FeatureKeep | None = None) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._keep = {
            name: (axis, torch.from_numpy(np.asarray(kept, np.int64))) for name, (axis, kept) in (keep or {}).items()
        }
        known = [tensor.name for node in teacher.model.nodes for tensor in node.outputs if tensor.name]
        for name in self.names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
                hint = f"Did you mean {', '.join(near)}?" if near else f"It has, among others: {', '.join(known[:5])}."
                raise UsageError(f"features: no node of the model computes a tensor called {name!r}. {hint}")

    def __call__(self, student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Returns the mean over the named tensors, a scalar.

        Args:
            student: Its tensors by name.
            teacher: Likewise, for the same samples.

        Raises:
            ModelError: when two tensors cannot be compared.
        """
        return torch.stack([self._one(name, student[name], teacher[name]) for name in self.names]).mean()

    def _one(self, name: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        if not (student.is_floating_point() and student.dim() > 1 and student.dim() == teacher.dim()):
            raise ModelError(
                f"features: tensor {name!r} is {student.dtype} {list(student.shape)}; expected floating values with "
                "one axis for the samples and at least one more. Name another tensor."
            )
        student, teacher = student.float(), teacher.float()
        axis = 1 if student.dim() != 3 else 2
        if name in self._keep:
            axis, kept = self._keep[name]
            if kept.device != teacher.device:
                kept = kept.to(teacher.device)
                self._keep[name] = axis, kept
            teacher = teacher.index_select(axis, kept)
        if student.shape == teacher.shape:
            return channel_error(student, teacher, axis)
        differing = [i for i, (a, b) in enumerate(zip(student.shape, teacher.shape, strict=True)) if a != b]
        if len(differing) != 1 or differing[0] == 0:
            raise ModelError(
                f"features: tensor {name!r} is {list(student.shape)} in the pruned model and {list(teacher.shape)} in "
                "the original; only the number of channels may differ. Name another tensor."
            )
        return attention_error(student, teacher, differing[0])


def channel_error(student: torch.Tensor, teacher: torch.Tensor, axis: int) -> torch.Tensor:
    """Returns the squared difference per channel in units of the teacher's spread; see the module's text."""
    others = [i for i in range(teacher.dim()) if i != axis % teacher.dim()]
    spread = teacher.var(others, correction=0)
    error = (student - teacher).square().mean(others)
    return (error / (spread + _FLOOR * spread.mean() + _SMALLEST)).mean()


def attention_error(student: torch.Tensor, teacher: torch.Tensor, axis: int) -> torch.Tensor:
    """Returns the distance of the two maps of attention; see the module's text."""
    maps = [F.normalize(t.square().mean(axis).flatten(1), dim=1) for t in (student, teacher)]
    return (maps[0] - maps[1]).square().sum(1).mean()
