"""A graph in layers from top to bottom, ordered for few crossings (Sugiyama, Tagawa and Toda 1981).

A box lies one layer below the lowest of those it reads (longest path); what hangs on no input, such
as a computation on parameters, lies just above its first reader. A wire that crosses layers gets a
bend in each, so that it has room of its own there; a wire with several ends shares its bends. Each
layer is then sorted by the mean place of its neighbours in the layer above, then below, in turn,
and the order with the fewest crossings is kept.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layers", "Wiring"]

ROUNDS, BIG, BIG_ROUNDS = 8, 4_000, 2
"""Rounds of sorting, down and up, and those for graphs of more than `BIG` boxes and bends: a drawing takes seconds."""


@dataclass(frozen=True)
class Wiring:
    """One wire.

    Attributes:
        source: Index of the box it starts at.
        targets: Indices of the boxes it ends at, each greater than `source`; at least one.
    """

    source: int
    targets: tuple[int, ...]


class Layers:
    """Boxes and bends in ordered layers. Boxes keep their indices, bends follow; both are vertices.

    Args:
        count: Number of boxes.
        wires: The wires.
        inputs: How many boxes, the first ones, are inputs of the graph.

    Attributes:
        count: Number of boxes.
        rank: Layer of each vertex.
        up: Neighbours of each vertex in the layer above.
        down: Neighbours in the layer below.
        order: The vertices of each layer, from left to right.
    """

    def __init__(self, count: int, wires: Sequence[Wiring], inputs: int) -> None:
        self.count = count
        self.rank = _ranks(count, wires, inputs)
        self.up: list[list[int]] = [[] for _ in range(count)]
        self.down: list[list[int]] = [[] for _ in range(count)]
        self._bends = [self._bend(wire) for wire in wires]
        for wire, bends in zip(wires, self._bends, strict=True):
            for target in wire.targets:
                self._link(bends.get(self.rank[target] - 1, wire.source), target)
        self.order: list[list[int]] = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for vertex in self._by_depth():
            self.order[self.rank[vertex]].append(vertex)
        self._sort()

    def path(self, number: int, wire: Wiring, target: int) -> list[int]:
        """Returns the vertices along wire `number` from its source to one of its targets."""
        between = range(self.rank[wire.source] + 1, self.rank[target])
        return [wire.source, *(self._bends[number][layer] for layer in between), target]

    def crossings(self) -> int:
        """Returns how many pairs of links cross."""
        count = 0
        for above, below in pairwise(self.order):
            place = {vertex: i for i, vertex in enumerate(below)}
            passed: list[int] = []
            for vertex in above:
                ends = [place[n] for n in self.down[vertex]]
                count += sum(len(passed) - bisect_right(passed, end) for end in ends)
                for end in ends:
                    insort(passed, end)
        return count

    def _bend(self, wire: Wiring) -> dict[int, int]:
        """Adds the bends of a wire; returns layer → bend."""
        bends: dict[int, int] = {}
        last = wire.source
        for layer in range(self.rank[wire.source] + 1, max(self.rank[t] for t in wire.targets)):
            bends[layer] = len(self.rank)
            self.rank.append(layer)
            self.up.append([])
            self.down.append([])
            self._link(last, bends[layer])
            last = bends[layer]
        return bends

    def _link(self, above: int, below: int) -> None:
        self.down[above].append(below)
        self.up[below].append(above)

    def _by_depth(self) -> list[int]:
        """Returns the vertices depth first, so that what hangs together starts out side by side."""
        found: dict[int, None] = {}
        for root in range(self.count):
            stack = [root]
            while stack:
                vertex = stack.pop()
                if vertex not in found:
                    found[vertex] = None
                    stack.extend(reversed(self.down[vertex]))
        return list(found)

    def _sort(self) -> None:
        best, fewest = [list(layer) for layer in self.order], self.crossings()
        for turn in range(2 * (ROUNDS if len(self.rank) <= BIG else BIG_ROUNDS)):
            if not fewest:
                break
            upwards = turn % 2 == 1
            place = {vertex: i for layer in self.order for i, vertex in enumerate(layer)}
            for layer in reversed(self.order) if upwards else self.order:
                self._sort_layer(layer, self.down if upwards else self.up, place)
            crossings = self.crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.order], crossings
        self.order = best

    @staticmethod
    def _sort_layer(layer: list[int], near: Sequence[Sequence[int]], place: dict[int, int]) -> None:
        mean = {v: sum(place[n] for n in near[v]) / len(near[v]) if near[v] else float(place[v]) for v in layer}
        layer.sort(key=mean.__getitem__)
        for i, vertex in enumerate(layer):
            place[vertex] = i


def _ranks(count: int, wires: Sequence[Wiring], inputs: int) -> list[int]:
    """Returns the layer of each box."""
    rank, fed = [0] * count, [box < inputs for box in range(count)]
    below = [list[int]() for _ in range(count)]
    for wire in wires:
        below[wire.source] += wire.targets
    for source in range(count):  # every wire runs to a greater index
        for target in below[source]:
            rank[target] = max(rank[target], rank[source] + 1)
            fed[target] = fed[target] or fed[source]
    for box in reversed(range(count)):
        if below[box] and (box < inputs or not fed[box]):
            rank[box] = min(rank[target] for target in below[box]) - 1
    return rank
