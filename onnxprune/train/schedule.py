"""The learning rate over a run: a linear rise over the first w steps, then a linear fall to zero.

η(t) = η_max (t + 1) / w              for t < w
η(t) = η_max (T − t) / (T − w)        for w ≤ t < T
"""

from __future__ import annotations

__all__ = ["learning_rate"]


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Returns the learning rate of a step.

    Args:
        step: Counted from 0.
        steps: Steps of the whole run.
        peak: The largest learning rate.
        warmup: Share of the steps that rise, in [0, 1].
    """
    rising = min(round(warmup * steps), steps - 1)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / (steps - rising)
