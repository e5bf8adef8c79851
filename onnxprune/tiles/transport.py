"""Channels to kinds of positions at least cost: an assignment problem with repeated columns.

At a fixed mask, positions inside one block cost a channel the same, so the linear assignment problem over n
positions is a transportation problem over far fewer kinds b, each with room for cap_b channels (Σ cap = n):

    minimise Σ_i C[i, a(i)]   such that each kind is used cap_b times.

It is solved exactly by successive shortest paths (Jonker and Volgenant, 1987) on the graph of kinds. With
prices v, a channel's reduced cost is C[i, b] − v_b, and all placed channels sit where it is least. A channel
is placed by the cheapest chain of moves that ends at a kind with room; the move from kind b to kind c costs

    E[b, c] = min { C[i, c] − C[i, b] : i placed in b }.

Any prices may begin: channels whose favourite kind has room are placed at once, so good prices (those of a
similar problem) leave few chains to search. A problem of 4,096 channels in blocks of 16 takes about a second
where a dense assignment takes the better part of a minute.
"""

from __future__ import annotations

import numpy as np

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats, Indices

__all__ = ["transport"]


def transport(cost: Floats, capacity: Indices, prices: Floats | None = None) -> tuple[Indices, Floats]:
    """Returns the kind of each channel, int64 [n], and prices to begin a similar problem with, float64 [kinds].

    Args:
        cost: C, finite float64 [n, kinds].
        capacity: int64 [kinds], of sum n, each at least one.
        prices: Where to begin; None takes each kind's mean cost.

    Raises:
        InternalError: when there is not room for exactly n channels.
    """
    if int(capacity.sum()) != len(cost) or cost.shape[1] != len(capacity) or capacity.min() < 1:
        raise InternalError(f"{len(cost)} channels do not fill kinds of capacity {capacity.tolist()}")
    solver = _Chains(cost, capacity, cost.mean(axis=0) if prices is None else prices.copy())
    for channel in solver.fill():
        solver.insert(channel)
    return solver.kind, solver.prices


class _Chains:
    """A partial placement that is the cheapest for the channels placed so far."""

    def __init__(self, cost: Floats, capacity: Indices, prices: Floats) -> None:
        self.cost, self.prices = cost, prices
        self.kind = np.full(len(cost), -1, dtype=np.int64)
        self._room = capacity.tolist()
        self._placed: list[list[int]] = [[] for _ in self._room]
        kinds = len(self._room)
        self._move = np.full((kinds, kinds), np.inf)  # E
        self._mover = np.zeros((kinds, kinds), dtype=np.int64)

    def fill(self) -> list[int]:
        """Places channels in their favourite kinds while there is room; returns the others."""
        reduced = self.cost - self.prices
        favourite = reduced.argmin(axis=1)
        regret = np.zeros(len(reduced))
        if reduced.shape[1] > 1:
            two = np.partition(reduced, 1, axis=1)
            regret = two[:, 1] - two[:, 0]
        left = []
        for channel in np.argsort(-regret, kind="stable").tolist():
            kind = int(favourite[channel])
            if self._room[kind]:
                self._room[kind] -= 1
                self._placed[kind].append(channel)
                self.kind[channel] = kind
            else:
                left.append(channel)
        for kind, placed in enumerate(self._placed):
            if placed and left:
                self._refresh(kind)
        return left

    def insert(self, channel: int) -> None:
        """Places one more channel, moving others along the cheapest chain."""
        distance = self.cost[channel] - self.prices
        distance -= distance.min()
        open_, before, done = distance.copy(), np.full(len(distance), -1, dtype=np.int64), []
        while True:
            kind = int(open_.argmin())
            if self._room[kind]:
                break
            done.append(kind)
            through = self._move[kind] + (self.prices[kind] + distance[kind])
            through -= self.prices
            through[done] = np.inf
            better = through < open_
            distance[better] = open_[better] = through[better]
            before[better] = kind
            open_[kind] = np.inf
        self.prices[done] -= distance[kind] - distance[done]
        self._room[kind] -= 1
        self._shift(channel, kind, before)

    def _shift(self, channel: int, last: int, before: Indices) -> None:
        """Moves channels along the chain that ends in `last`, and puts `channel` at its beginning."""
        touched, kind = [last], last
        while (source := int(before[kind])) >= 0:
            mover = int(self._mover[source, kind])
            self._placed[source].remove(mover)
            self._placed[kind].append(mover)
            self.kind[mover] = kind
            touched.append(source)
            kind = source
        self._placed[kind].append(channel)
        self.kind[channel] = kind
        for each in touched:
            self._refresh(each)

    def _refresh(self, kind: int) -> None:
        """Finds anew what the cheapest move out of a kind costs."""
        placed = np.array(self._placed[kind], dtype=np.int64)
        rise = self.cost[placed]
        rise -= rise[:, kind, None]
        cheapest = rise.argmin(axis=0)
        self._mover[kind] = placed[cheapest]
        self._move[kind] = rise[cheapest, np.arange(rise.shape[1])]
        self._move[kind, kind] = np.inf
