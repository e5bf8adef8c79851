"""What an allocator is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.alignment import AlignOption
from onnxprune.allocate.cost_table import CostTable, Counts, Floats
from onnxprune.allocate.ratios import Ratios
from onnxprune.axes import Poly
from onnxprune.core.allocation import Allocation
from onnxprune.core.errors import InternalError
from onnxprune.core.group import Group
from onnxprune.core.search import Constraint, SearchRecord
from onnxprune.criteria.base import Unit

if TYPE_CHECKING:
    from onnxprune.trial.descend import Candidates

__all__ = ["Allocator", "Problem", "Searcher"]


class Searcher(Protocol):
    """Lets allocators learn on data.

    Attributes:
        groups: Names of the groups whose channels can be switched.
        constraint: How keep ratios are to hold the budgets while they are searched for.
        rounds: In how many rounds an iterative method is to come down to the budgets.
    """

    @property
    def groups(self) -> tuple[str, ...]: ...

    @property
    def constraint(self) -> Constraint: ...

    @property
    def rounds(self) -> int: ...

    def search(self, importances: Mapping[str, NDArray[np.float64]], ratios: Ratios) -> SearchRecord:
        """Moves `ratios`; returns how it went.

        Args:
            importances: Group → importance, float64 [size], below zero where a channel is gone.
            ratios: One for each group, in their order: shares of the channels that are not gone.
        """

    def descend(self, importances: Mapping[str, NDArray[np.float64]], candidates: Candidates) -> list[tuple[str, int]]:
        """Returns the way down: (group, channels that it keeps from then on).

        Args:
            importances: As `search` takes them.
            candidates: Says what can go in each round.
        """


@dataclass(frozen=True)
class Problem:
    """Which channels there are, what they are worth and cost, and what is allowed.

    Attributes:
        groups: Prunable groups, in graph order.
        scores: Group name → importance, float64 [size], below zero where a channel is gone.
        costs: Resource → cost as a polynomial in kept counts that never falls when a count
            rises. Resources without a limit are only reported.
        limits: Resource → upper bound, in the unit of its cost; greater than zero.
        align: "auto", or the multiple that channel counts should have.
        floor: Share of each group that stays unless the budget cannot be met otherwise,
            in [0, 1].
        ceilings: Group name → number of channels that are left of it, where an earlier phase
            took some; the others have none left to give.
        unit: How scores of different groups compare (`onnxprune.criteria.Scores`).
        searcher: Lets keep ratios learn; None where there are no data.
    """

    groups: tuple[Group, ...]
    scores: Mapping[str, NDArray[np.float64]]
    costs: Mapping[str, Poly]
    limits: Mapping[str, float]
    align: AlignOption = "auto"
    floor: float = 0.1
    ceilings: Mapping[str, int] = field(default_factory=dict)
    unit: Unit = "share"
    searcher: Searcher | None = None

    def __post_init__(self) -> None:
        names = {group.name for group in self.groups}
        for group in self.groups:
            score = self.scores.get(group.name)
            if score is None or score.shape != (group.size,) or not np.isfinite(score).all():
                raise InternalError(f"group {group.name!r} needs {group.size} finite scores, got {score!r}")
            if not 1 <= self.ceilings.get(group.name, group.size) <= group.size:
                raise InternalError(f"group {group.name!r} cannot keep {self.ceilings[group.name]} of {group.size}")
        for resource, limit in self.limits.items():
            if resource not in self.costs or not 0 < limit < float("inf"):
                raise InternalError(f"resource {resource!r} needs a cost and a finite limit above zero, got {limit}")
        for resource, cost in self.costs.items():
            strangers = sorted(set(cost.names) - names)
            if strangers:
                raise InternalError(f"the cost of {resource!r} speaks of groups that are not given: {strangers}")

    @property
    def sizes(self) -> dict[str, int]:
        """Group name → number of channels."""
        return {group.name: group.size for group in self.groups}

    @property
    def available(self) -> dict[str, int]:
        """Group name → number of channels that may be kept."""
        return {group.name: self.ceilings.get(group.name, group.size) for group in self.groups}

    @property
    def floors(self) -> Counts:
        """The least that each group keeps if that is possible, at least one channel: int64 [groups]."""
        # 0.1 * 30 is a hair above 3 in binary
        wanted = np.ceil(self.floor * np.array(list(self.sizes.values())) - 1e-9)
        return np.maximum(wanted, 1).astype(np.int64)

    @cached_property
    def limited(self) -> tuple[CostTable, Floats]:
        """The costs that have a limit, as one table, and their limits, float64 [resources]."""
        table = CostTable(tuple(self.sizes), {resource: self.costs[resource] for resource in self.limits})
        return table, np.array(list(self.limits.values()), dtype=np.float64)


class Allocator(Protocol):
    """Decides how many channels each group keeps. Built without arguments."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns kept counts that hold all limits, at least 98 % of the binding one used.

        Raises:
            BudgetError: when even one channel per group costs more than a limit.
        """
