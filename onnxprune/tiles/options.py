"""How long and how boldly to search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onnxprune.core.errors import UsageError

__all__ = ["STARTS", "SearchOptions", "Start"]

Start = Literal["none", "sorted", "soft", "noise"]
STARTS: tuple[Start, ...] = ("none", "sorted", "soft", "noise")


@dataclass(frozen=True)
class SearchOptions:
    """The knobs of `onnxprune.tiles.permutation.search`.

    Attributes:
        starts: Where descents begin: the order as it is; channels sorted by mass; sorted, with a choice that is
            blurred at first; as it is, with noise at first.
        kicks: How often the best order is disturbed, by noise, swaps and blur in turn, and descended from again.
        rounds: Most rounds of one descent, its warm part not counted.
        warm_rounds: Rounds over which the blur of "soft" and the noise of "noise" fade.
        temperature: Blur at the beginning, in standard deviations of the block sums.
        cooling: The blur's factor from round to round.
        noise: Relative noise at the beginning.
        kick_rounds: Rounds over which the noise or blur of a kick fades.
        swaps: Random pairs of channels of each variable that a kick swaps.
        tolerance: A descent ends when a round keeps less than this share of the whole mass more.
        exact: Most kinds of positions, or channels where each position is its own kind, that are placed at once.
        batch: Most channels that change places at once in an N:M member.
        seconds: Wall-clock time after which no further round begins; None for as long as it takes. With a limit,
            the result depends on the machine.

    Raises:
        UsageError: when a value is outside its domain.
    """

    starts: tuple[Start, ...] = STARTS
    kicks: int = 12
    rounds: int = 60
    warm_rounds: int = 20
    temperature: float = 0.5
    cooling: float = 0.75
    noise: float = 0.25
    kick_rounds: int = 5
    swaps: int = 5
    tolerance: float = 1e-6
    exact: int = 1024
    batch: int = 256
    seconds: float | None = None

    def __post_init__(self) -> None:
        unknown = [start for start in self.starts if start not in STARTS]
        if unknown:
            raise UsageError(f"A search does not start from {unknown[0]!r}. Known: {', '.join(STARTS)}.")
        whole = {"kicks": 0, "rounds": 1, "warm_rounds": 0, "kick_rounds": 0, "swaps": 0, "exact": 2, "batch": 2}
        for name, least in whole.items():
            if getattr(self, name) < least:
                raise UsageError(f"`{name}` of a permutation search is at least {least}, not {getattr(self, name)}.")
        for name in ("temperature", "noise", "tolerance"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"`{name}` of a permutation search is at least 0, not {getattr(self, name)}.")
        if not 0 < self.cooling < 1:
            raise UsageError(f"`cooling` of a permutation search is between 0 and 1, not {self.cooling}.")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"`seconds` of a permutation search is above 0, not {self.seconds}.")
