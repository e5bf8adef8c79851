"""What a search gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from onnxprune.tiles.arrays import Indices, Mask
from onnxprune.tiles.masking import expand_choice
from onnxprune.tiles.pattern import Pattern
from onnxprune.tiles.saliency import efficacy

__all__ = ["Found", "FoundMember", "Point", "Pruned", "summed"]


@dataclass(frozen=True)
class Pruned:
    """Mass that the masks of different orders prune, in units of the saliencies given, times their weights.

    Attributes:
        total: All the mass there is.
        none: Pruned in the original order.
        sorted: Pruned with all channels sorted by mass.
        found: Pruned in the order found.
        bound: Pruned at least, whatever the order, by as many entries wherever they are.
    """

    total: float
    none: float
    sorted: float
    found: float
    bound: float

    @property
    def efficacy(self) -> float:
        """Share of what an order could gain at most that was gained."""
        return efficacy(self.total - self.found, self.total - self.none, self.total - self.bound)


@dataclass(frozen=True, eq=False)
class FoundMember:
    """One member in the order found.

    Attributes:
        name: The member's.
        pattern: The member's.
        rows: Which original input stands at each position, int64 [K].
        columns: Which original output stands at each position, int64 [N].
        choice: Kept cells, in positions: bool [row cells, column cells].
        pruned: Masses, times the member's weight.
    """

    name: str
    pattern: Pattern
    rows: Indices
    columns: Indices
    choice: Mask
    pruned: Pruned

    @property
    def mask(self) -> Mask:
        """Which entries stay, in *original* order: bool [K, N]."""
        return expand_choice(self.pattern, self.choice, self.rows, self.columns)


@dataclass(frozen=True, eq=False)
class Found:
    """The best orders that a search saw.

    Attributes:
        orders: Variable → which channel stands at each position, int64 [size].
        members: Name → the member in these orders.
        pruned: Masses summed over the members.
        rounds: Rounds of the search, in each of which every variable was improved once.
        seconds: Wall-clock time of the search.
    """

    orders: Mapping[str, Indices]
    members: Mapping[str, FoundMember]
    pruned: Pruned
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Point:
    """How a search stands after a round.

    Attributes:
        step: What is being done: the name of a start, or "kick 3".
        round: Rounds so far, over all steps.
        pruned: Mass that the present orders prune; None in a round with noise or blur, where it is not reckoned.
        best: Least mass that any orders pruned so far.
        seconds: Wall-clock time so far.
    """

    step: str
    round: int
    pruned: float | None
    best: float
    seconds: float


def summed(parts: Iterable[Pruned]) -> Pruned:
    """Returns the masses of several members together."""
    listed = list(parts)
    return Pruned(
        sum(part.total for part in listed),
        sum(part.none for part in listed),
        sum(part.sorted for part in listed),
        sum(part.found for part in listed),
        sum(part.bound for part in listed),
    )
