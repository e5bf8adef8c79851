"""The state of a search: orders of all variables, and the M-step that improves one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.exchange import exchange, open_holes
from onnxprune.tiles.member import Member, variable_sizes
from onnxprune.tiles.options import SearchOptions
from onnxprune.tiles.placing import place
from onnxprune.tiles.sheet import Sheet
from onnxprune.tiles.variable import Variable, find_variable, placing_cost

__all__ = ["Arrangement", "cycles"]


class Arrangement:
    """Members in an order that can be improved.

    Attributes:
        variables: All of them; those without effect included.
        sheets: The members, in the order given.
        orders: Variable → which channel stands at each position, int64 [size].
        mass: All of the weighted saliency.
    """

    def __init__(self, members: Sequence[Member], options: SearchOptions, rng: np.random.Generator) -> None:
        sizes = variable_sizes(members)
        self.variables = tuple(find_variable(name, size, members) for name, size in sizes.items())
        self.orders: dict[str, Indices] = {name: np.arange(size, dtype=np.int64) for name, size in sizes.items()}
        self.sheets = tuple(Sheet(member, self.orders) for member in members)
        self.mass = sum(sheet.mass for sheet in self.sheets)
        self._options, self._rng = options, rng
        self._prices: dict[str, Floats | None] = dict.fromkeys(sizes)

    def kept(self) -> float:
        """Returns the kept mass of the best masks for the present orders."""
        return sum(sheet.kept() for sheet in self.sheets)

    def take(self, orders: Mapping[str, Indices]) -> None:
        """Takes the given orders."""
        self.orders = dict(orders)
        for sheet in self.sheets:
            sheet.reorder(self.orders)

    def improve(self, variable: Variable, noise: float = 0.0, temperature: float = 0.0) -> None:
        """Takes the best order of one variable for the masks of the present orders.

        Without noise and temperature, the kept mass does not fall.
        """
        if variable.free:
            return
        before = self.orders[variable.name]
        guarded = variable.coupled and noise == 0 and temperature == 0
        kept = self._kept_of(variable) if guarded else 0.0
        cost = placing_cost(variable, self.sheets, noise, temperature, self._rng)
        if variable.groups:
            for holes in open_holes(variable, self.sheets, self._options.batch, self._rng):
                order = self.orders[variable.name]
                self._set(variable, exchange(variable, self.sheets, order, holes, cost, noise, self._rng))
        else:
            order, self._prices[variable.name] = place(
                cost, variable.kinds, before, self._prices[variable.name], self._options.exact, self._rng
            )
            self._set(variable, order)
        if guarded:
            self._keep_what_helps(variable, before, cost, kept)

    def sorted_orders(self) -> dict[str, Indices]:
        """Returns orders with the channels of most saliency, over all uses, first."""
        masses = {variable.name: np.zeros(variable.size) for variable in self.variables}
        for sheet in self.sheets:
            for axis, segments in enumerate((sheet.member.rows, sheet.member.columns)):
                along, start = sheet.values.sum(axis=1 - axis), 0
                for segment in segments:
                    if segment.variable is not None:
                        masses[segment.variable] += along[start + segment.places()].sum(axis=1)
                    start += segment.length
        return {name: np.argsort(-mass, kind="stable") for name, mass in masses.items()}

    def tidy_orders(self) -> dict[str, Indices]:
        """Returns the present orders, with channels ascending wherever positions are alike."""
        result = {}
        for variable in self.variables:
            order = self.orders[variable.name]
            if not variable.groups:
                order = order.copy()
                for kind in range(len(variable.firsts)):
                    at = variable.kinds == kind
                    order[at] = np.sort(order[at])
            result[variable.name] = order
        return result

    def _set(self, variable: Variable, order: Indices) -> None:
        self.orders[variable.name] = order
        for index in variable.members:
            self.sheets[index].reorder(self.orders)

    def _kept_of(self, variable: Variable) -> float:
        return sum(self.sheets[index].kept() for index in variable.members)

    def _keep_what_helps(self, variable: Variable, before: Indices, cost: Floats, kept: float) -> None:
        """Undoes ever more of a step of a coupled variable, those with the least promised gain first, until it helps.

        Its cost speaks of moves one at a time; together they may lose.
        """
        after = self.orders[variable.name]
        moves = cycles(before, after)
        at = [(positions, variable.kinds[positions]) for positions in moves]
        gains = [float((cost[before[p], k] - cost[after[p], k]).sum()) for p, k in at]
        ranked = np.argsort(-np.array(gains), kind="stable").tolist()
        while ranked:
            if self._kept_of(variable) > kept:
                return
            ranked = ranked[: len(ranked) // 2]
            order = before.copy()
            for move in ranked:
                order[moves[move]] = after[moves[move]]
            self._set(variable, order)


def cycles(before: Indices, after: Indices) -> list[Indices]:
    """Returns the positions of each cycle of the permutation that makes one order of another, fixed ones left out."""
    came_from = np.empty_like(before)
    came_from[before] = np.arange(len(before))
    source, seen, result = came_from[after], np.zeros(len(before), dtype=bool), []
    for first in np.flatnonzero(before != after).tolist():
        cycle, position = [], first
        while not seen[position]:
            seen[position] = True
            cycle.append(position)
            position = int(source[position])
        if cycle:
            result.append(np.array(cycle, dtype=np.int64))
    return result
