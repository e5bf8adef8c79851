"""What each output of a model is, and which one the labels speak of.

An output is read from what computes it, and that is checked on its values: behind Softmax lie
probabilities that sum to one along the operator's axis, behind LogSoftmax their logarithms,
behind Sigmoid probabilities of their own. A float output [batch, classes] of any other operator
counts as class scores, unless the user asks for another comparison; of more axes, only labels
tell which one holds classes. All else is values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from onnxprune.bridge import OnnxModule
from onnxprune.core.class_axis import class_axis

__all__ = ["LabelTarget", "OutputKind", "Target", "find_label_target", "find_targets"]

OutputKind = Literal["classes", "probabilities", "log_probabilities", "binary", "values", "ignored"]

_SAME_AXES = ("Identity", "Cast", "Dropout")
_OTHER_AXES = ("Flatten", "Squeeze", "Unsqueeze", "Reshape")
_KINDS: dict[str, OutputKind] = {"Softmax": "probabilities", "LogSoftmax": "log_probabilities", "Sigmoid": "binary"}
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Target:
    """One output.

    Attributes:
        name: The output's name.
        kind: "classes": scores of any scale; "probabilities" and "log_probabilities": of classes;
            "binary": a probability in each element; "values": anything else that is float;
            "ignored": not float.
        axis: The axis of classes, counted from 0, or None.
    """

    name: str
    kind: OutputKind
    axis: int | None = None


@dataclass(frozen=True)
class LabelTarget:
    """The output that labels speak of.

    Attributes:
        index: Position of the output.
        axis: Axis of classes for class indices; None for labels with one number per element.
    """

    index: int
    axis: int | None


def find_targets(teacher: OnnxModule, outputs: Sequence[torch.Tensor], *, scores: bool = True) -> tuple[Target, ...]:
    """Returns what each output is.

    Args:
        teacher: The module that computes them.
        outputs: Its outputs for some batch.
        scores: Whether [batch, classes] of an ordinary operator counts as class scores.
    """
    makers = {tensor.name: node for node in teacher.model.nodes for tensor in node.outputs}
    return tuple(
        _target(name, tensor, makers, scores) for name, tensor in zip(teacher.output_names, outputs, strict=True)
    )


def _target(name: str, tensor: torch.Tensor, makers: dict[str, Any], scores: bool) -> Target:
    if not tensor.is_floating_point():
        return Target(name, "ignored")
    op, axis = _activation(name, tensor.dim(), makers)
    if op == "Sigmoid":
        return Target(name, "binary")
    if op and axis and _sums_to_one(tensor.exp() if op == "LogSoftmax" else tensor, axis):
        return Target(name, _KINDS[op], axis)
    if not op and scores and tensor.dim() == 2 and tensor.shape[1] > 1:
        return Target(name, "classes", 1)
    return Target(name, "values")


def _activation(name: str, rank: int, makers: dict[str, Any]) -> tuple[str, int | None]:
    """Returns Softmax, LogSoftmax or Sigmoid where the output comes from one, and its axis in the output."""
    node, moves, reshaped = makers.get(name), list[Sequence[int]](), False
    while node is not None and node.op in (*_SAME_AXES, *_OTHER_AXES, "Transpose"):
        if node.op == "Transpose":
            moves.append(node.attrs.get("perm") or range(rank)[::-1])
        reshaped = reshaped or node.op in _OTHER_AXES
        node = makers.get(node.inputs[0].name)
    if node is None or node.op not in _KINDS:
        return "", None
    if reshaped:
        return str(node.op), 1 if rank == 2 and not moves else None
    axis = int(node.attrs.get("axis", -1)) % rank if rank else 0
    for order in reversed(moves):
        axis = list(order).index(axis)
    return str(node.op), axis


def _sums_to_one(tensor: torch.Tensor, axis: int) -> bool:
    return tensor.shape[axis] > 1 and bool(((tensor.float().sum(axis) - 1).abs() < _SUM_TOLERANCE).all())


def find_label_target(
    targets: Sequence[Target], shapes: Sequence[Sequence[int]], labels: Sequence[int], integer: bool
) -> LabelTarget | None:
    """Returns the output that labels fit, or None; the first of several, "values" last.

    Class indices [batch, …] fit an output with one axis more. Numbers for each class fit
    [batch, classes], and an output behind Sigmoid of their own shape, give or take a last axis of
    one.

    Args:
        targets: What the outputs are.
        shapes: Their shapes.
        labels: Shape of the labels; the size of the first axis does not matter.
        integer: Whether they are integers.
    """
    wanted = tuple(labels[1:])
    order = sorted(range(len(targets)), key=lambda index: targets[index].kind == "values")
    for index in order:
        target, shape = targets[index], tuple(shapes[index])
        if target.kind == "ignored" or not shape:
            continue
        if _is_alike(target, shape[1:], wanted):
            return LabelTarget(index, None)
        axis = class_axis(shape, labels, target.axis) if integer else None
        if axis is not None:
            return LabelTarget(index, axis)
    return None


def _is_alike(target: Target, own: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if target.kind == "binary":
        return wanted == own or (*wanted, 1) == own
    return target.kind in ("classes", "values") and wanted == own and len(own) == 1 and own[0] > 1
