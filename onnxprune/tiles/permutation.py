"""Orders of channels under which patterns prune least (after TETRIS, Ji et al., NeurIPS 2018).

For members m with saliency X_m, weight ω_m and pattern P_m, find an order π_v of each variable v and masks M_m
that the patterns allow, with as little pruned mass as possible:

    J(π, M) = Σ_m ω_m Σ_{k,n} X_m[rows_m(π)[k], columns_m(π)[n]] · (1 − M_m[k, n]).

E-step: for given orders, each pattern chooses its best mask; exact. M-step: for given masks and the orders of all
other variables, the best order of one variable is an assignment of channels to positions; exact too, where the
paper swaps pairs greedily (`onnxprune.tiles.variable`, `onnxprune.tiles.placing`). Neither raises J, so rounds of
both, over all variables in turn, descend to a local optimum. To find a better one, descents begin in several
places: the original order; channels sorted by mass; sorted, with masks blurred at first (the objective's kinks
smoothed, and the smoothing annealed away); original, with 25 % noise on the saliencies that fades. Then the best
is kicked by noise, by random swaps, or by blur and a little noise, and descended from again. The best orders seen
are kept, and the original and the sorted ones are among those seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onnxprune.tiles.arrangement import Arrangement
from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.axis import Segment
from onnxprune.tiles.found import Found, FoundMember, Point, Pruned, summed
from onnxprune.tiles.member import Member
from onnxprune.tiles.options import SearchOptions, Start
from onnxprune.tiles.pattern import Pattern
from onnxprune.tiles.placing import is_partial
from onnxprune.tiles.sheet import Sheet

__all__ = ["search", "search_layer"]

_DEFAULT = SearchOptions()
_KINDS, _STRONGEST = 3, 4.0  # of kicks
_PATIENCE = 3  # rounds without gain that end a descent with random batches


def search(
    members: Sequence[Member],
    options: SearchOptions = _DEFAULT,
    rng: np.random.Generator | None = None,
    on_point: Callable[[Point], None] | None = None,
) -> Found:
    """Returns the best orders found; they prune no more than the original and the sorted ones.

    Args:
        members: The matrices that the orders serve, at least one.
        options: How long and how boldly to search.
        rng: Draws noise and swaps; None is a generator of seed 0. Without a time limit, the same generator state
            gives the same result.
        on_point: Told how the search stands after each round.

    Raises:
        InternalError: when members contradict each other.
    """
    return _Search(members, options, np.random.default_rng(0) if rng is None else rng, on_point).run()


def search_layer(
    saliency: Floats,
    pattern: Pattern,
    options: SearchOptions = _DEFAULT,
    rng: np.random.Generator | None = None,
    on_point: Callable[[Point], None] | None = None,
) -> Found:
    """Returns the best orders "rows" and "columns" of a layer that depends on no other.

    Args:
        saliency: X, float64 [K, N].
        pattern: Which entries may stay.
        options: See `search`.
        rng: See `search`.
        on_point: See `search`.
    """
    rows, columns = (Segment(name, size) for name, size in zip(("rows", "columns"), saliency.shape, strict=True))
    return search([Member("layer", saliency, (rows,), (columns,), pattern)], options, rng, on_point)


class _Search:
    """One search."""

    def __init__(
        self,
        members: Sequence[Member],
        options: SearchOptions,
        rng: np.random.Generator,
        on_point: Callable[[Point], None] | None,
    ) -> None:
        self._begun = time.perf_counter()
        self._options, self._rng, self._on_point = options, rng, on_point
        self._now = Arrangement(members, options, rng)
        self._none = dict(self._now.orders)
        self._sorted = self._now.sorted_orders()
        self._moving = [variable for variable in self._now.variables if not variable.free]
        self._random = any(v.groups or is_partial(v.size, len(v.firsts), options.exact) for v in self._moving)
        self._best, self._kept = self._none, -1.0
        self._round = 0

    def run(self) -> Found:
        """Returns what was found."""
        plain = [self._masses_at(orders) for orders in (self._none, self._sorted)]
        if self._moving:
            for start in self._options.starts:
                self._descend_from(start)
            idle = 0
            for kick in range(self._options.kicks):
                idle = 0 if self._kick(kick, idle) else idle + 1
        self._now.take(self._best)
        self._now.take(self._now.tidy_orders())
        members = {}
        for sheet, none, by_mass in zip(self._now.sheets, *plain, strict=True):
            members[sheet.member.name] = _found(sheet, none, by_mass)
        pruned = summed(member.pruned for member in members.values())
        return Found(self._now.orders, members, pruned, self._round, time.perf_counter() - self._begun)

    def _masses_at(self, orders: Mapping[str, Indices]) -> list[float]:
        """Pruned mass of each member in the given orders, which become the best if they are."""
        self._now.take(orders)
        self._note(self._now.kept())
        return [sheet.mass - sheet.kept() for sheet in self._now.sheets]

    def _descend_from(self, start: Start) -> None:
        self._now.take(self._none if start in ("none", "noise") else self._sorted)
        options = self._options
        fading = [1.0 - step / options.warm_rounds for step in range(options.warm_rounds)]
        if start == "noise":
            self._warm(start, [(options.noise * share, 0.0) for share in fading])
        if start == "soft":
            self._warm(start, [(0.0, options.temperature * options.cooling**step) for step in range(len(fading))])
        self._descend(start)

    def _kick(self, number: int, idle: int) -> bool:
        """Disturbs the best orders, more after kicks in vain, and descends; returns whether it helped."""
        before, strength = self._kept, min(1.0 + idle / _KINDS, _STRONGEST)
        self._now.take(self._best)
        step, options = f"kick {number + 1}", self._options
        fading = [strength * (1.0 - done / options.kick_rounds) for done in range(options.kick_rounds)]
        match number % _KINDS:
            case 0:
                self._warm(step, [(options.noise * share, 0.0) for share in fading])
            case 1:
                self._swap(round(options.swaps * strength))
            case _:
                self._warm(step, [(options.noise * share / 4, options.temperature * share / 2) for share in fading])
        self._descend(step)
        return self._kept > before + options.tolerance * self._now.mass

    def _swap(self, count: int) -> None:
        """Swaps random pairs of channels of every variable."""
        orders = {name: order.copy() for name, order in self._now.orders.items()}
        for variable in self._moving:
            order = orders[variable.name]
            for one, other in self._rng.integers(variable.size, size=(count, 2)).tolist():
                order[[one, other]] = order[[other, one]]
        self._now.take(orders)

    def _warm(self, step: str, heats: Sequence[tuple[float, float]]) -> None:
        """Rounds with noise or blur, which may lose."""
        for noise, temperature in heats:
            if self._late():
                return
            self._improve_all(noise, temperature)
            self._tell(step, None)

    def _descend(self, step: str) -> None:
        """Rounds that do not lose, until they no longer gain."""
        kept, idle = self._now.kept(), 0
        self._note(kept)
        for _ in range(self._options.rounds):
            if self._late():
                return
            self._improve_all()
            gain, kept = self._now.kept() - kept, self._now.kept()
            self._note(kept)
            self._tell(step, self._now.mass - kept)
            idle = idle + 1 if gain <= self._options.tolerance * self._now.mass else 0
            if idle >= (_PATIENCE if self._random else 1):
                return

    def _improve_all(self, noise: float = 0.0, temperature: float = 0.0) -> None:
        for variable in self._moving:
            self._now.improve(variable, noise, temperature)
        self._round += 1

    def _note(self, kept: float) -> None:
        """Remembers the present orders if they are the best so far."""
        if kept > self._kept:
            self._kept, self._best = kept, dict(self._now.orders)

    def _late(self) -> bool:
        limit = self._options.seconds
        return limit is not None and time.perf_counter() - self._begun > limit

    def _tell(self, step: str, pruned: float | None) -> None:
        if self._on_point is not None:
            mass = self._now.mass
            seconds = time.perf_counter() - self._begun
            self._on_point(Point(step, self._round, pruned, mass - self._kept, seconds))


def _found(sheet: Sheet, none: float, by_mass: float) -> FoundMember:
    """The member in the orders that its sheet has."""
    member = sheet.member
    choice = sheet.choose(0, sheet.profile(0)) > 0.5
    bound = sheet.mass - member.pattern.bound(sheet.values)
    pruned = Pruned(sheet.mass, none, by_mass, sheet.mass - sheet.kept(), bound)
    rows, columns = sheet.orders
    return FoundMember(member.name, member.pattern, rows, columns, choice, pruned)
