"""How far a student's outputs are from the teacher's, and from labels.

Nothing here waits for the device.

Class scores z with temperature τ, p = softmax(z / τ), mean over samples and positions:

    L_soft = τ² · KL(p_teacher ‖ p_student)             (Hinton, Vinyals, Dean 2015, section 2)

Probabilities of their own, p = σ(z / τ) with z = log p − log(1 − p), mean over elements:

    L_soft = τ² · (q log(q / p) + (1 − q) log((1 − q) / (1 − p)))    q of the teacher

Values y: ‖y_student − y_teacher‖² over the teacher's variance, so that outputs of different
scale weigh alike; or 1 − cos of the angle between them, sample by sample.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from onnxprune.core.class_axis import IGNORED_LABEL

__all__ = ["angle", "binary_error", "class_error", "logit", "scaled_error", "soft_binary", "soft_classes"]

_SMALLEST = 1e-12


def soft_classes(student: torch.Tensor, teacher: torch.Tensor, axis: int, temperature: float) -> torch.Tensor:
    """Returns L_soft of class scores of one shape.

    Args:
        student: Scores, or log-probabilities.
        teacher: Likewise.
        axis: Where the classes are.
        temperature: τ.
    """
    log_p, log_q = F.log_softmax(student / temperature, axis), F.log_softmax(teacher / temperature, axis)
    positions = max(student.numel() // max(student.shape[axis], 1), 1)
    return F.kl_div(log_p, log_q, reduction="sum", log_target=True) * (temperature**2 / positions)


def logit(probabilities: torch.Tensor) -> torch.Tensor:
    """Returns log p − log(1 − p), finite also where p is 0 or 1."""
    return probabilities.clamp_min(_SMALLEST).log() - (1 - probabilities).clamp_min(_SMALLEST).log()


def soft_binary(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns L_soft of probabilities that stand for themselves, given as logits of one shape."""
    student, teacher = student / temperature, teacher / temperature
    total = torch.zeros((), device=student.device)
    for sign in (1.0, -1.0):
        log_p, log_q = F.logsigmoid(sign * student), F.logsigmoid(sign * teacher)
        total = total + F.kl_div(log_p, log_q, reduction="sum", log_target=True)
    return total * (temperature**2 / max(student.numel(), 1))


def scaled_error(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the mean squared difference over the teacher's variance; over its mean square where it is constant."""
    square = teacher.square().mean()
    spread = (teacher - teacher.mean()).square().mean()
    spread = torch.where(spread > 1e-8 * square, spread, square)
    return (student - teacher).square().mean() / spread.clamp_min(_SMALLEST)


def angle(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the mean of 1 − cos over samples; all samples are one vector where each is one number."""
    rows = len(student) if student.dim() > 1 and student[0].numel() > 1 else 1
    return (1 - F.cosine_similarity(student.reshape(rows, -1), teacher.reshape(rows, -1))).mean()


def class_error(scores: torch.Tensor, labels: torch.Tensor, axis: int, smoothing: float) -> torch.Tensor:
    """Returns the cross-entropy over the positions whose label is not `IGNORED_LABEL`; 0 where there are none.

    Args:
        scores: Float [batch, …] with classes along `axis`.
        labels: int64, the same shape without that axis.
        axis: Where the classes are.
        smoothing: Share of probability spread over all classes.
    """
    total = F.cross_entropy(
        scores.movedim(axis, 1), labels, ignore_index=IGNORED_LABEL, label_smoothing=smoothing, reduction="sum"
    )
    return total / (labels != IGNORED_LABEL).sum().clamp_min(1)


def binary_error(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Returns the binary cross-entropy over the elements whose label is not `IGNORED_LABEL`; 0 where there are none.

    Args:
        logits: Float.
        labels: Numbers in 0..1 of the same shape.
        smoothing: Share of probability that each label gives away, half of it to either side.
    """
    counted = labels != IGNORED_LABEL
    aim = torch.where(counted, labels, 0).to(logits.dtype) * (1 - smoothing) + smoothing / 2
    total = F.binary_cross_entropy_with_logits(logits, aim, weight=counted.to(logits.dtype), reduction="sum")
    return total / counted.sum().clamp_min(1)
