"""How a budget is approached when pruning and retraining take turns.

With n phases and a final share κ of a resource, phase p = 1 … n may keep the share

    imp, bimp:  κ_p = κ^(p/n)                      each phase takes the same part of what is left
    gmp:        κ_p = 1 − (1 − κ)(1 − (1 − p/n)³)   most goes early, when there is most to spare

of the original. Iterative magnitude pruning removes the fraction q = 1 − κ^(1/n) per phase
(Zimmer, Spiegel, Pokutta, "How I Learned to Stop Worrying and Love Retraining", 2023, section 3);
budgeted pruning (BIMP, ibid.) spends part of the epochs before the first phase; the cubic curve is
that of gradual magnitude pruning (Zhu, Gupta, "To prune, or not to prune", 2017). They speak of
shares of weights; here a share is of whatever the budget counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onnxprune.core.errors import UsageError

__all__ = ["Iteration", "Phase", "phase_epochs", "phase_share", "phases_of"]

Iteration = Literal["imp", "bimp", "gmp"]


@dataclass(frozen=True)
class Phase:
    """One turn of pruning and retraining.

    Attributes:
        number: Counted from 1.
        count: How many there are.
        iteration: Which curve the budgets follow.
        epochs: Epochs of retraining after the cut.
        epochs_before: Epochs of all earlier phases.
        all_epochs: Epochs of all phases.
    """

    number: int = 1
    count: int = 1
    iteration: Iteration = "imp"
    epochs: int = 0
    epochs_before: int = 0
    all_epochs: int = 0

    def limit(self, limit: float, original: float) -> float:
        """Returns what this phase may keep of a resource, on the way from `original` to `limit`."""
        if self.number == self.count or limit >= original:
            return limit
        return original * phase_share(self.iteration, self.number, self.count, limit / original)


def phase_share(iteration: Iteration, number: int, count: int, share: float) -> float:
    """Returns κ_p, the share of a resource that phase `number` of `count` may keep.

    Args:
        iteration: The curve.
        number: Counted from 1.
        count: Number of phases.
        share: κ, the share that the last phase may keep, in (0, 1].
    """
    done = number / count
    if iteration == "gmp":
        return 1 - (1 - share) * (1 - (1 - done) ** 3)
    return float(share**done)


def phase_epochs(epochs: int, count: int) -> list[int]:
    """Returns the epochs of each phase: the same for all, the last also takes what does not divide."""
    each = epochs // count
    return [each] * (count - 1) + [epochs - each * (count - 1)]


def phases_of(iteration: Iteration, count: int, epochs: int, dense_epochs: int = 0) -> list[Phase]:
    """Returns the phases of a run.

    Args:
        iteration: The curve of the budgets.
        count: Number of phases.
        epochs: Epochs of the whole run.
        dense_epochs: How many of them come before the first phase.

    Raises:
        UsageError: when there is less than one epoch for each phase.
    """
    left = epochs - dense_epochs
    if dense_epochs and left < 1:
        raise UsageError(
            f"--dense-epochs {dense_epochs} are part of --epochs {epochs}, and none is left to train after the cut. "
            f"Give --epochs {count + dense_epochs} or more."
        )
    if count > 1 and left < count:
        raise UsageError(
            f"--phases {count} needs at least one epoch for each phase; {left} are left"
            + (f" after --dense-epochs {dense_epochs}" if dense_epochs else "")
            + f". Give --epochs {count + dense_epochs} or more, or fewer phases."
        )
    each = phase_epochs(left, count)
    return [Phase(i + 1, count, iteration, e, sum(each[:i]), left) for i, e in enumerate(each)]
