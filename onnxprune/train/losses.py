"""What the student is trained for: the teacher's outputs, and labels where there are any.

    L = Σ over outputs of L_soft, but (1 − λ) L_hard + λ L_soft for the one that labels speak of
      + μ L_features

with λ = `distill_weight`, and 1 without labels; μ = `feature_weight`. The module `targets` tells
what each output is, `distances` holds L_soft and L_hard, `features` holds L_features. A loss of
the user's stands in for the whole sum over outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule
from onnxprune.core.class_axis import IGNORED_LABEL
from onnxprune.core.errors import DataError, ModelError, UsageError
from onnxprune.train import distances
from onnxprune.train.custom import load_metric
from onnxprune.train.custom_loss import load_loss
from onnxprune.train.features import FeatureKeep, FeatureLoss
from onnxprune.train.label_reader import LabelReader
from onnxprune.train.metrics import element_score, position_score
from onnxprune.train.options import TrainOptions
from onnxprune.train.targets import LabelTarget, OutputKind, find_targets

__all__ = ["Objective", "OutputKind", "Outputs", "as_tuple"]

_SMALLEST = 1e-12
_SCORES = ("classes", "probabilities", "log_probabilities")


def as_tuple(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Returns a module's outputs as a tuple, one or several."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclass(frozen=True)
class Outputs:
    """What a module gave for a batch.

    Attributes:
        values: Its outputs, in order.
        features: The tensors that `Objective.features` names.
    """

    values: tuple[torch.Tensor, ...]
    features: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Objective:
    """The loss and the score of a student.

    Args:
        teacher: Tells which outputs are probabilities.
        outputs: Its outputs for some batch.
        options: Weights, temperature, names of the user's functions.
        labels_shape: Shape of the labels, samples first (their number does not matter); None
            without labels, or to wait for the first batch of them.
        labels_integer: Whether they are integers.
        feature_keep: For features with pruned channels, which were kept.

    Raises:
        ModelError: when no output is a float tensor and the user gives no loss.
        UsageError: when a feature, a loss or a metric cannot be found, or features lack a weight.
        DataError: when a module of the user's cannot be imported, or labels alone are to be learned and
            fit no output.

    Attributes:
        features: Tensors that the loop must record in student and teacher.
        notes: What the user should know.
    """

    def __init__(
        self,
        teacher: OnnxModule,
        outputs: Sequence[torch.Tensor],
        options: TrainOptions,
        *,
        labels_shape: Sequence[int] | None = None,
        labels_integer: bool = True,
        feature_keep: FeatureKeep | None = None,
    ) -> None:
        self._options = options
        self._shapes = tuple(tuple(tensor.shape) for tensor in outputs)
        targets = find_targets(teacher, outputs, scores=options.distill == "auto")
        self._custom, self._metric = load_loss(options.loss), load_metric(options.metric)
        self._labels = LabelReader(targets)
        if labels_shape is not None:
            self._labels.settle(self._shapes, labels_shape, integer=labels_integer)
        self._features = _feature_loss(teacher, options, feature_keep)
        self.features: tuple[str, ...] = self._features.names if self._features is not None else ()
        self.notes: tuple[str, ...] = ()
        if self._custom is not None:
            return
        if all(kind == "ignored" for kind in self.kinds):
            raise ModelError(
                f"None of the outputs {', '.join(teacher.output_names)} is a float tensor, so there is nothing to "
                "train towards. Prune without retraining, or give a --loss of your own."
            )
        if labels_shape is not None and self._labels.speaks_of is None:
            if options.distill_weight == 0:
                raise DataError(
                    f"Training is by labels alone (without a teacher, or with distill_weight = 0), and labels "
                    f"{['samples', *labels_shape[1:]]} fit none of the outputs {', '.join(teacher.output_names)}. Give "
                    "a teacher to learn from, labels that fit, or a loss of your own (--loss)."
                )
            shapes = ", ".join(f"{t.name} {list(shape)}" for t, shape in zip(targets, self._shapes, strict=True))
            self.notes = (
                f"Labels {['samples', *labels_shape[1:]]} fit none of the outputs ({shapes}); training is by "
                "distillation alone.",
            )

    @property
    def kinds(self) -> tuple[OutputKind, ...]:
        """What each output is taken for."""
        return tuple(target.kind for target in self._labels.targets)

    def check_labels(self, labels: NDArray[Any]) -> None:
        """Checks all labels of a data set at once, so that `loss` need not look at each batch.

        Args:
            labels: [samples, …].

        Raises:
            DataError: when one is out of range.
        """
        samples = torch.from_numpy(np.ascontiguousarray(labels))
        speaks_of = self._labels.speaks_of
        if speaks_of is not None:
            self._labels.check(samples, self._shapes[speaks_of.index])
            self._labels.checked = True

    def loss(self, student: Outputs, teacher: Outputs, labels: torch.Tensor | None) -> torch.Tensor:
        """Returns the loss of a batch, a scalar with gradient.

        Args:
            student: Its outputs and features.
            teacher: Likewise, for the same samples.
            labels: [batch, …], or None. Unless `check_labels` saw them all, their range is checked
                here: for free while they are on the CPU (they are moved to the outputs' device
                afterwards), but on a GPU each look waits for the device.

        Raises:
            DataError: when a label is out of range, or the user's loss fails.
            UsageError: when the user's loss gives no scalar with gradient.
            ModelError: when features cannot be compared.
        """
        if self._custom is not None:
            if self._metric is None:
                self._labels.read(labels, student.values)  # what `score` will refuse is refused before training
            device = student.values[0].device
            moved = None if labels is None else labels.to(device, non_blocking=True)
            total = self._custom(self._by_name(student), self._by_name(teacher), moved)
        else:
            total = self._over_outputs(student, teacher, labels)
        if self._features is not None:
            total = total + self._options.feature_weight * self._features(student.features, teacher.features)
        return total

    def score(self, student: Outputs, teacher: Outputs, labels: torch.Tensor | None) -> torch.Tensor:
        """Returns how good a batch is, summed over its samples; higher is better.

        The user's metric where there is one; else hits on the labels, or on the teacher's choice
        without labels; minus the loss where the model gives no classes.
        """
        samples = len(next((tensor for tensor in student.values if tensor.dim()), torch.zeros(1)))
        if self._metric is not None:
            arrays = [
                {name: tensor.detach().cpu().numpy() for name, tensor in self._by_name(outputs).items()}
                for outputs in (student, teacher)
            ]
            value = self._metric(arrays[0], None if labels is None else labels.cpu().numpy(), arrays[1])
            return torch.tensor(value * samples, dtype=torch.float64)
        aims = self._labels.read(labels, student.values)
        found = self._scored(aims is not None)
        if found is None:
            return -self.loss(student, teacher, labels).detach().double() * samples
        index, axis = found
        scores, target = self._read(index, student), self._read(index, teacher)
        if axis is None:
            return element_score(scores, (target > 0) if aims is None else aims)
        return position_score(scores, target.argmax(axis) if aims is None else aims, axis)

    def metric_name(self, labelled: bool) -> str:
        """Returns what `score` measures: "accuracy", "agreement", "negative loss", or the user's metric."""
        if self._metric is not None:
            return self._metric.text
        if labelled and self._labels.speaks_of is not None:
            return "accuracy"
        return "negative loss" if self._scored(False) is None else "agreement"

    def _scored(self, labelled: bool) -> tuple[int, int | None] | None:
        """Returns the output that is scored, and its axis of classes."""
        speaks_of, targets = self._labels.speaks_of, self._labels.targets
        if speaks_of is not None and (labelled or targets[speaks_of.index].kind != "binary"):
            return speaks_of.index, speaks_of.axis
        for kinds in (_SCORES, ("binary",)):
            for index, target in enumerate(targets):
                if target.kind in kinds:
                    return index, target.axis
        return None

    def _over_outputs(self, student: Outputs, teacher: Outputs, labels: torch.Tensor | None) -> torch.Tensor:
        aims = self._labels.read(labels, student.values)
        labelled = self._labels.speaks_of if aims is not None else None
        terms = []
        for index, kind in enumerate(self.kinds):
            if labelled is not None and aims is not None and index == labelled.index:
                terms.append(self._mixed(labelled, student, teacher, aims))
            elif kind != "ignored":
                terms.append(self._soft(index, student, teacher))
        return torch.stack(terms).sum()

    def _mixed(self, labelled: LabelTarget, student: Outputs, teacher: Outputs, aims: torch.Tensor) -> torch.Tensor:
        share = self._options.distill_weight
        if share == 1:
            return self._soft(labelled.index, student, teacher)
        hard = self._hard(labelled, student, aims)
        return hard if share == 0 else (1 - share) * hard + share * self._soft(labelled.index, student, teacher)

    def _soft(self, index: int, student: Outputs, teacher: Outputs) -> torch.Tensor:
        target, options = self._labels.targets[index], self._options
        own, aim = self._read(index, student), self._read(index, teacher)
        if target.kind == "binary":
            return distances.soft_binary(own, aim, options.temperature)
        if target.axis is not None:
            return distances.soft_classes(own, aim, target.axis, options.temperature)
        return distances.angle(own, aim) if options.distill == "cosine" else distances.scaled_error(own, aim)

    def _hard(self, labelled: LabelTarget, student: Outputs, aims: torch.Tensor) -> torch.Tensor:
        axis, smoothing = labelled.axis, self._options.label_smoothing
        scores = self._read(labelled.index, student)
        if axis is None:
            return distances.binary_error(scores, aims, smoothing)
        if self.kinds[labelled.index] == "binary":
            kept = aims.clamp_min(0)
            one_hot = F.one_hot(kept, scores.shape[axis]).movedim(-1, axis)
            ignored = (aims == IGNORED_LABEL).unsqueeze(axis)
            return distances.binary_error(scores, one_hot.masked_fill(ignored, IGNORED_LABEL), smoothing)
        return distances.class_error(scores, aims, axis, smoothing)

    def _read(self, index: int, outputs: Outputs) -> torch.Tensor:
        """Returns an output in float32: scores, log-probabilities, logits, or values."""
        values, kind = outputs.values[index].float(), self.kinds[index]
        if kind == "probabilities":
            return values.clamp_min(_SMALLEST).log()
        return distances.logit(values) if kind == "binary" else values

    def _by_name(self, outputs: Outputs) -> dict[str, torch.Tensor]:
        pairs = zip(self._labels.targets, outputs.values, strict=True)
        return {target.name: v.float() if v.is_floating_point() else v for target, v in pairs}


def _feature_loss(teacher: OnnxModule, options: TrainOptions, keep: FeatureKeep | None) -> FeatureLoss | None:
    if bool(options.features) != (options.feature_weight > 0):
        raise UsageError(
            f"features = {list(options.features)} and feature_weight = {options.feature_weight:g}: give both, the "
            "names of tensors of the model and their weight in the loss, or neither."
        )
    return FeatureLoss(teacher, options.features, keep) if options.features else None
