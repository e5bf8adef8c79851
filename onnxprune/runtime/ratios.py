"""Ratios of times with intervals that hold what really differs from one measurement to the next.

Two sessions of the same file differ for good by a per cent or two: their weights lie elsewhere in memory, and pools of
threads fall on the cores differently. No repetition within one session shows that. A comparison therefore consists of
stands s = 1…S, each with sessions made anew. With t_s the samples of a model in stand s, r_s those of the reference and
q the lower quartile,

    l_s = log(q(t_s) / q(r_s)),   ratio = exp(mean of l_s),

and the interval of 95 % is the wider, on each side, of Student's t over l_s and of a bootstrap of q(t) / q(r) over all
samples together, which draws stands, and rounds within each: stands that hold few rounds say little one by one. Where
sessions were given and could not be made anew, there is one stand, and for Student's t five stretches of rounds in a
row take the place of stands; they see load that comes and goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["Ratio", "Samples", "find_ratio"]

Samples = Mapping[str, NDArray[np.float64]]
"""Model → seconds per run, float64 [rounds], of one stand."""

_Pair: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
_RESAMPLES = 400
_STRETCHES = 5
_ENDS = (2.5, 97.5)


@dataclass(frozen=True)
class Ratio:
    """Time over the reference's time, below 1 is faster.

    Attributes:
        value: Ratio of the lower quartiles, or of the percentile that was asked for; the geometric mean over stands.
        low: Lower end of its 95 % interval.
        high: Upper end.
        iqr: Interquartile range of the ratios of single rounds.
    """

    value: float
    low: float
    high: float
    iqr: float


def find_ratio(stands: Sequence[Samples], model: str, reference: str, *, percentile: float, seed: int) -> Ratio:
    """Returns the time of `model` over that of `reference`.

    Args:
        stands: At least one; all hold both.
        model: Name of the model.
        reference: Name of what it is held against.
        percentile: Of the samples of a stand, which are compared.
        seed: Draws the bootstrap's samples.
    """
    pairs = [(stand[model], stand[reference]) for stand in stands]
    logs = _logs(pairs, percentile)
    middle = float(logs.mean())
    reach = _reach(logs if len(pairs) > 1 else _logs(_stretches(*pairs[0]), percentile))
    low, high = np.percentile(_resampled(pairs, percentile, np.random.default_rng(seed)), _ENDS)
    p25, p75 = np.percentile(np.concatenate([seconds / base for seconds, base in pairs]), [25, 75])
    low, middle, high = np.exp([min(low, middle - reach), middle, max(high, middle + reach)]).tolist()
    return Ratio(middle, low, high, float(p75 - p25))


def _log_ratio(seconds: NDArray[np.float64], base: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """Returns the logarithm of the ratio of percentiles along the last axis."""
    return np.asarray(np.log(np.percentile(seconds, q, axis=-1) / np.percentile(base, q, axis=-1)))


def _logs(pairs: Sequence[_Pair], q: float) -> NDArray[np.float64]:
    """Returns the logarithm of the ratio of each pair: float64 [pairs]."""
    return np.array([_log_ratio(*pair, q) for pair in pairs])


def _stretches(seconds: NDArray[np.float64], base: NDArray[np.float64]) -> list[_Pair]:
    return list(zip(np.array_split(seconds, _STRETCHES), np.array_split(base, _STRETCHES), strict=True))


def _reach(logs: NDArray[np.float64]) -> float:
    """Returns how far the mean of `logs` may be off, by how much they differ from each other."""
    count = len(logs)
    return float(stdtrit(count - 1, _ENDS[1] / 100) * np.std(logs, ddof=1) / np.sqrt(count))


def _resampled(pairs: Sequence[_Pair], q: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns logarithms of ratios as other stands and rounds of the same kind would give them: float64 [resamples]."""
    counts = np.array([len(base) for _, base in pairs])
    starts = np.cumsum(counts) - counts
    drawn = rng.integers(0, len(pairs), (_RESAMPLES, len(pairs), 1))
    within = rng.random((_RESAMPLES, len(pairs), round(counts.mean()))) * counts[drawn]
    picks = (starts[drawn] + within.astype(np.int64)).reshape(_RESAMPLES, -1)
    seconds, base = (np.concatenate(found) for found in zip(*pairs, strict=True))
    return _log_ratio(seconds[picks], base[picks], q)
