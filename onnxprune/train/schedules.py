"""The learning rate over a retraining run.

T steps of retraining, of which the first w warm up, R = T − w, r = t − w. The training that
made the model had N steps, its learning rate fell from η_max to η_min along η_orig(0 … N−1):

    ft       η_min, no warm-up                      fine-tuning
    lrw      η_orig(N − T + t), no warm-up          rewinding: its last T steps again
    slr      η_orig(⌊r N / R⌋)                      scaled: its whole curve in R steps
    clr      η_min + (η_max − η_min) (1 + cos(π r / R)) / 2     cyclic
    llr      η_max (1 − r / R)                      linear
    allr     s η_max (1 − r / R)                    adaptive linear; s from `adaptive_scale`

(Zimmer, Spiegel, Pokutta, "How I Learned to Stop Worrying and Love Retraining", ICLR 2023;
ft and lrw are from Han et al. 2015 and Renda, Frankle, Carbin 2020, slr and clr from Le and Hua
2021.) These have w = 0.1 T, or none where it says so. Four more take the user's w:

    constant η_max
    stepped  as slr, along steps
    cosine   η_max (1 + cos(π r / R)) / 2
    linear   η_max (1 − r / R)

An .onnx file does not say how it was trained, so N, η_min / η_max and the curve are assumptions
that the options state; the assumed curve has no warm-up:

    cosine   η_min + (η_max − η_min) (1 + cos(π j / (N − 1))) / 2
    linear   η_max − (η_max − η_min) j / (N − 1)
    step     η_max, √(η_max η_min), η_min from 0, 50 %, 75 % of the steps on

A run longer than the original begins its rewinding with η_max. The warm-up is the cosine ramp
η(w) (1 − cos(π (t + 1) / w)) / 2: it is one step ahead of the paper's, so that no step, not even
the only one of a short run, has a learning rate of zero. The falls end one step before zero
for the same reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from onnxprune.core.errors import InternalError, UsageError

__all__ = [
    "FIXED",
    "SCHEDULES",
    "OriginalDecay",
    "Schedule",
    "ScheduleName",
    "ScheduleOptions",
    "adaptive_scale",
    "make_schedule",
]

ScheduleName = Literal["ft", "lrw", "slr", "clr", "llr", "allr", "constant", "stepped", "cosine", "linear"]
OriginalDecay = Literal["cosine", "linear", "step"]

SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
FIXED: tuple[ScheduleName, ...] = ("ft", "lrw", "slr", "clr", "llr", "allr")
"""Those with a warm-up of their own."""

_DECAYS: tuple[OriginalDecay, ...] = get_args(OriginalDecay)
_WARMUP = 0.1


@dataclass(frozen=True)
class ScheduleOptions:
    """Which schedule, and what is assumed of the training that made the model.

    Attributes:
        name: One of `SCHEDULES`.
        peak: η_max, greater than zero.
        warmup: Share of the steps that warm up, in [0, 1]; None takes the schedule's own, and
            those in `FIXED` allow nothing else.
        original_epochs: Length of the original training, greater than zero.
        final_lr_ratio: η_min / η_max of the original training, in (0, 1].
        original_decay: Shape of its curve.
        lr_scale: s of "allr", in (0, 1]; the others leave it aside.

    Raises:
        UsageError: when a value lies outside its domain.
    """

    name: ScheduleName = "llr"
    peak: float = 0.05
    warmup: float | None = None
    original_epochs: float = 100.0
    final_lr_ratio: float = 0.01
    original_decay: OriginalDecay = "cosine"
    lr_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise UsageError(f"schedule = {self.name!r}: must be one of {', '.join(SCHEDULES)}.")
        if self.original_decay not in _DECAYS:
            raise UsageError(f"original_decay = {self.original_decay!r}: must be one of {', '.join(_DECAYS)}.")
        for what in ("peak", "original_epochs"):
            if not 0 < getattr(self, what) < math.inf:
                raise UsageError(f"{what} = {getattr(self, what)}: must be a finite number greater than zero.")
        for what in ("final_lr_ratio", "lr_scale"):
            if not 0 < getattr(self, what) <= 1:
                raise UsageError(f"{what} = {getattr(self, what)}: must be greater than zero and at most 1.")
        if self.warmup is None:
            return
        if not 0 <= self.warmup <= 1:
            raise UsageError(f"warmup = {self.warmup}: must lie in 0..1.")
        if self.name in FIXED:
            own = "none" if self.name in ("ft", "lrw") else f"{_WARMUP:g} of the steps"
            raise UsageError(
                f"warmup = {self.warmup}: schedule {self.name!r} has a warm-up of its own ({own}). Leave warmup out, "
                "or take constant, stepped, cosine or linear."
            )


@dataclass(frozen=True)
class Schedule:
    """A learning rate for each step of a run; see the module's text.

    Attributes:
        options: What it was made from.
        steps: T, at least 1.
        original_steps: N, at least 1.
        warmup_steps: w, below T.
    """

    options: ScheduleOptions
    steps: int
    original_steps: int
    warmup_steps: int

    def lr(self, step: int) -> float:
        """Returns the learning rate of a step, greater than zero.

        Args:
            step: Counted from 0, below `steps`.
        """
        if not 0 <= step < self.steps:
            raise InternalError(f"step {step} of a schedule with {self.steps} steps")
        if step < self.warmup_steps:
            return self._after(0) * (1 - math.cos(math.pi * (step + 1) / self.warmup_steps)) / 2
        return self._after(step - self.warmup_steps)

    def _after(self, r: int) -> float:
        """Returns the learning rate r steps after the warm-up."""
        peak, lowest, name = self.options.peak, self.options.peak * self.options.final_lr_ratio, self.options.name
        rest = self.steps - self.warmup_steps
        match name:
            case "ft":
                return lowest
            case "constant":
                return peak
            case "lrw":
                return self._original(max(self.original_steps - self.steps + r, 0), self.options.original_decay)
            case "slr":
                return self._original(r * self.original_steps // rest, self.options.original_decay)
            case "stepped":
                return self._original(r * self.original_steps // rest, "step")
            case "clr":
                return lowest + (peak - lowest) * _cosine(r / rest)
            case "cosine":
                return peak * _cosine(r / rest)
        scale = self.options.lr_scale if name == "allr" else 1.0
        return scale * peak * (rest - r) / rest

    def _original(self, j: int, decay: OriginalDecay) -> float:
        """Returns η_orig(j)."""
        peak, ratio = self.options.peak, self.options.final_lr_ratio
        if decay == "step":
            done = j / self.original_steps
            return peak * (1.0 if done < 0.5 else math.sqrt(ratio) if done < 0.75 else ratio)
        done = j / max(self.original_steps - 1, 1)
        left = 1 - done if decay == "linear" else _cosine(done)
        return peak * (ratio + (1 - ratio) * left)


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def make_schedule(options: ScheduleOptions, steps: int, steps_per_epoch: int) -> Schedule:
    """Returns the schedule of a run.

    Args:
        options: Which, and what is assumed of the original training.
        steps: Steps of this run.
        steps_per_epoch: Steps of one pass over the data; N is this times the original epochs.

    Raises:
        UsageError: when there are no steps.
    """
    if steps < 1 or steps_per_epoch < 1:
        raise UsageError(f"A schedule needs steps; got {steps}, with {steps_per_epoch} per epoch.")
    share = options.warmup if options.warmup is not None else 0.0 if options.name in ("ft", "lrw") else _WARMUP
    original = max(round(options.original_epochs * steps_per_epoch), 1)
    return Schedule(options, steps, original, min(round(share * steps), steps - 1))


def adaptive_scale(
    norm_before: float, norm_after: float, pruned_share: float, epochs: float, original_epochs: float
) -> float:
    """Returns s of "allr": how far a pruning step went, as a share of the original learning rate.

        d = √|‖W‖² − ‖W_p‖²| / (‖W‖ √q),   s = min(max(d, min(T / N, 1)), 1)

    (the paper's equation for η_start). Pruning at random gives d = 1; pruning what is small
    gives less. Where nothing was pruned, d counts as 0.

    Args:
        norm_before: ‖W‖, the Euclidean norm over all weights and biases before this pruning step.
        norm_after: ‖W_p‖, the same after it.
        pruned_share: q, the share of the weights that this step removed.
        epochs: T, length of the retraining.
        original_epochs: N, length of the original training.

    Raises:
        UsageError: when a value lies outside its domain.
    """
    given = {"norm_before": norm_before, "norm_after": norm_after, "pruned_share": pruned_share, "epochs": epochs}
    for what, value in given.items():
        if not 0 <= value < math.inf:
            raise UsageError(f"{what} = {value}: must be a finite number, not negative.")
    if pruned_share > 1 or not 0 < original_epochs < math.inf:
        raise UsageError(
            f"pruned_share = {pruned_share} must lie in 0..1, and original_epochs = {original_epochs} must be a "
            "finite number greater than zero."
        )
    lowest = min(epochs / original_epochs, 1.0)
    if norm_before == 0 or pruned_share == 0:
        return lowest
    relative = norm_after / norm_before  # squares of the norms themselves might overflow
    distance = math.sqrt(abs(1 - relative**2)) / math.sqrt(pruned_share)
    return min(max(distance, lowest), 1.0)
