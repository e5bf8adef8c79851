"""Channels to kinds of positions at least cost: an assignment problem with repeated columns.

At a fixed mask, positions inside one block cost a channel the same, so the linear assignment problem over n
positions is a transportation problem over far fewer kinds b, each with room for cap_b channels (Σ cap = n):

    minimise Σ_i C[i, a(i)]   such that each kind is used cap_b times.

It is solved exactly by successive shortest paths (Jonker and Volgenant, 1987) on the graph of kinds. With
prices v, a channel's reduced cost is C[i, b] − v_b, and all placed channels sit where it is least. A channel
is placed by the cheapest chain of moves that ends at a kind with room; the move from kind b to kind c costs

    E[b, c] = min { C[i, c] − C[i, b] : i placed in b }.

Any prices may begin: channels whose favourite kind has room are placed at once, so good prices leave few
chains to search. Those of a similar problem are good; where they are not, a few iterations of the problem with
an entropy term of weight ε (Sinkhorn's) make them so, in which each kind draws the shares it has room for:

    v_b += ε · log(cap_b / Σ_i p_ib),   p_i = softmax_b((v_b − C[i, b]) / ε).
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats, Indices

__all__ = ["transport"]

_FEW = 8  # chains for fewer than an eighth of the channels cost less than better prices
_ENTROPY = (0.03, 0.01, 0.003, 0.001)  # of the spread of a channel's costs
_ITERATIONS = 4


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
    begin = cost.mean(axis=0) if prices is None else prices.copy()
    solver = _Chains(cost, capacity, begin)
    left = solver.fill()
    if len(left) * _FEW > len(cost):
        evened = _Chains(cost, capacity, _evened(cost, capacity, begin))
        fewer = evened.fill()
        if len(fewer) < len(left):
            solver, left = evened, fewer
    solver.find_moves()
    for channel in left:
        solver.insert(channel)
    return solver.kind, solver.prices


def _evened(cost: Floats, capacity: Indices, prices: Floats) -> Floats:
    """Prices at which kinds draw about as many channels as they have room for."""
    spread = float(cost.std(axis=1).mean())
    for share in _ENTROPY:
        weight = max(share * spread, 1e-300)
        for _ in range(_ITERATIONS):
            drawn = softmax((prices - cost) / weight, axis=1).sum(axis=0)
            prices = prices + weight * np.log(capacity / np.maximum(drawn, 1e-9))
    return prices


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
        return left

    def find_moves(self) -> None:
        """Finds what moves cost; to be called before `insert`."""
        for kind, placed in enumerate(self._placed):
            if placed:
                self._refresh(kind)

    def insert(self, channel: int) -> None:
        """Places one more channel, moving others along the cheapest chain."""
        open_ = self.cost[channel] - self.prices
        open_ -= open_.min()
        # twice the distances: a closed kind is infinitely far to those who look for the next one, and infinitely
        # near to those who look for a shorter way, so that rounding cannot lead a chain into a ring
        known, before = open_.copy(), np.full(len(open_), -1, dtype=np.int64)
        through, better = np.empty_like(open_), np.empty(len(open_), dtype=bool)
        closed: list[int] = []
        distances: list[float] = []
        while not self._room[kind := int(open_.argmin())]:
            closed.append(kind)
            distances.append(float(open_[kind]))
            open_[kind], known[kind] = np.inf, -np.inf
            np.subtract(self._move[kind], self.prices, out=through)
            through += self.prices[kind] + distances[-1]
            np.less(through, known, out=better)
            for target, value in ((open_, through), (known, through), (before, kind)):
                np.copyto(target, value, where=better)
        self.prices[closed] -= open_[kind] - np.array(distances)
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
