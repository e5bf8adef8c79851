"""Labels as a loss reads them: the output that they speak of, their range, their device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from onnxprune.core.class_axis import IGNORED_LABEL
from onnxprune.core.errors import DataError
from onnxprune.train.targets import LabelTarget, Target, find_label_target

__all__ = ["LabelReader"]


class LabelReader:
    """What labels mean for a model; settled once, at the latest by the first that are read.

    Args:
        targets: What the outputs are.

    Attributes:
        targets: As given, but an output that labels told to be class scores is of that kind.
        speaks_of: The output that the labels are about, or None.
        checked: Whether all labels were looked at, so that no batch needs to be.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = tuple(targets)
        self.speaks_of: LabelTarget | None = None
        self.checked = False
        self._settled = False

    def settle(self, shapes: Sequence[Sequence[int]], labels: Sequence[int], *, integer: bool) -> None:
        """Decides which output labels speak of, unless that is decided.

        Args:
            shapes: Shapes of the outputs for some batch.
            labels: Shape of the labels, samples first.
            integer: Whether they are integers.
        """
        if self._settled:
            return
        self._settled = True
        found = self.speaks_of = find_label_target(self.targets, shapes, labels, integer)
        if found is not None and self.targets[found.index].kind == "values":
            own = replace(self.targets[found.index], kind="classes", axis=found.axis or 1)
            self.targets = (*self.targets[: found.index], own, *self.targets[found.index + 1 :])

    def read(self, labels: torch.Tensor | None, outputs: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """Returns labels on the outputs' device, in the shape that their loss takes; None where they fit none.

        Args:
            labels: [batch, …], or None.
            outputs: The model's outputs for the batch.

        Raises:
            DataError: when a label is out of range, or of another type or shape than the first were.
        """
        if labels is None:
            return None
        self.settle([tensor.shape for tensor in outputs], labels.shape, integer=not labels.is_floating_point())
        if self.speaks_of is None:
            return None
        output = outputs[self.speaks_of.index]
        self.check(labels, output.shape)
        labels = labels.to(output.device, non_blocking=True)
        return labels.reshape(output.shape) if self.speaks_of.axis is None else labels.long()

    def check(self, labels: torch.Tensor, shape: Sequence[int]) -> None:
        """Checks labels against the output that they speak of, unless all were checked before.

        Args:
            labels: [samples, …].
            shape: The output's shape; the size of the first axis does not matter.

        Raises:
            DataError: when they are out of range, or of another type or shape.
        """
        if self.speaks_of is None:
            return
        axis, name = self.speaks_of.axis, self.targets[self.speaks_of.index].name
        one = tuple(size for i, size in enumerate(shape) if i not in (0, axis))
        alike = (one, one[:-1]) if axis is None and one[-1:] == (1,) else (one,)
        if tuple(labels.shape[1:]) not in alike or (axis is not None and labels.is_floating_point()):
            kind = "numbers" if axis is None else "integers"
            raise DataError(
                f"Labels are {str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}; output {name!r} of shape "
                f"{list(shape)} needs {kind} {['samples', *one]}."
            )
        if not self.checked and labels.numel():
            self._check_range(labels, None if axis is None else shape[axis])

    def _check_range(self, labels: torch.Tensor, classes: int | None) -> None:
        counted = labels[labels != IGNORED_LABEL]
        if not counted.numel():
            return
        for value in (counted.max().item(), counted.min().item()):
            if not 0 <= value <= (1 if classes is None else classes - 1):
                allowed = "takes numbers in 0..1" if classes is None else f"gives {classes} classes, 0..{classes - 1}"
                raise DataError(
                    f"Label {value:g} is out of range: the model {allowed} ({IGNORED_LABEL} leaves one out). Labels of "
                    "another meaning need a loss and a metric of your own."
                )
