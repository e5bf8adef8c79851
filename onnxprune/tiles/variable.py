"""A permutation variable: where it is used, which of its positions are alike, and what each place costs.

Fix the masks M and every other order. Placing channel i at position j of variable v keeps

    S[i, j] = Σ_{uses as rows}    Σ_n X[i, columns[n]] · M[j, n]
            + Σ_{uses as columns} Σ_k X[rows[k], i] · M[k, j],

each sum also running over the outer and inner copies of the channel. As M is constant in a cell, X is first
summed over the cells of the other axis, and j only matters through the cells it falls in: positions that fall in
the same ones are of one *kind*. A use where channels fill whole units of the pattern is *free*: its mask moves
along with the channels, any order keeps the same mass, and it takes no part.

S is exact unless one member has v on both of its axes, which makes the kept mass quadratic in the order; such a
variable is *coupled*, and its steps are checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.axis import Segment
from onnxprune.tiles.member import Member
from onnxprune.tiles.n_of_m import NOfM
from onnxprune.tiles.sheet import Sheet

__all__ = ["Use", "Variable", "find_variable", "placing_cost"]


@dataclass(frozen=True, eq=False)
class Use:
    """One axis of one member that a variable governs in part.

    Attributes:
        member: Index of the member.
        axis: 0 for rows, 1 for columns.
        places: Original entries, equally the positions, of each channel: int64 [size, copies].
        cell: Size of a cell of the choice along this axis.
    """

    member: int
    axis: int
    places: Indices
    cell: int


@dataclass(frozen=True, eq=False)
class Variable:
    """A permutation variable and all that depends on it.

    Attributes:
        name: As segments call it.
        size: Channels.
        uses: Those with a cost that is linear in the placing at fixed masks.
        groups: Uses as rows of an N:M member, whose gain is known exactly where one channel of a group moves.
        kinds: Kind of each position, int64 [size].
        firsts: A position of each kind, int64 [kinds].
        members: Indices of the members whose kept mass depends on the order.
        coupled: Whether some member has it on both axes.
    """

    name: str
    size: int
    uses: tuple[Use, ...]
    groups: tuple[Use, ...]
    kinds: Indices
    firsts: Indices
    members: tuple[int, ...]
    coupled: bool

    @property
    def free(self) -> bool:
        """Whether no order is better than another."""
        return not self.groups and len(self.firsts) == 1


def find_variable(name: str, size: int, members: Sequence[Member]) -> Variable:
    """Returns the variable called `name` with its uses in `members`."""
    uses, groups = [], []
    for index, member in enumerate(members):
        pattern = member.pattern
        sides = (
            (member.rows, pattern.row_cell, pattern.row_unit),
            (member.columns, pattern.column_cell, pattern.column_unit),
        )
        for axis, (segments, cell, unit) in enumerate(sides):
            found = [Use(index, axis, places, cell) for places in _bound_places(name, segments, unit)]
            if isinstance(pattern, NOfM) and axis == 0 and _apart(found, pattern.m):
                groups += found
            else:
                uses += found
    cells = [use.places // use.cell for use in uses]
    marks = np.hstack(cells) if cells else np.zeros((size, 1), dtype=np.int64)
    _, firsts, kinds = np.unique(marks, axis=0, return_index=True, return_inverse=True)
    both = [use.member for use in (*uses, *groups)]
    axes = {(use.member, use.axis) for use in (*uses, *groups)}
    return Variable(
        name,
        size,
        tuple(uses),
        tuple(groups),
        kinds.reshape(-1).astype(np.int64),
        firsts.astype(np.int64),
        tuple(dict.fromkeys(both)),
        len(axes) > len(set(both)),
    )


def placing_cost(
    variable: Variable,
    sheets: Sequence[Sheet],
    noise: float = 0.0,
    temperature: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Returns −S by kind of position, float64 [size, kinds], with masks chosen for the present orders.

    Args:
        variable: Which one is to be placed.
        sheets: The members in their present orders.
        noise: Relative disturbance of each saliency; needs `rng`.
        temperature: Blur of the choice; see `Pattern.choose`.
        rng: Draws the noise.
    """
    cost = np.zeros((variable.size, len(variable.firsts)))
    for member, axis in dict.fromkeys((use.member, use.axis) for use in variable.uses):
        sheet = sheets[member]
        profile = sheet.profile(axis) if rng is None else sheet.noisy_profile(axis, noise, rng)
        choice = sheet.choose(axis, profile, temperature)
        for use in variable.uses:
            if (use.member, use.axis) == (member, axis):
                _subtract_gain(cost, profile, choice, use, variable.firsts)
    return cost


def _subtract_gain(cost: Floats, profile: Floats, choice: Floats, use: Use, firsts: Indices) -> None:
    """Lowers the cost by what one use keeps."""
    cells = use.places[firsts] // use.cell
    for copy in range(use.places.shape[1]):
        cost -= profile[use.places[:, copy]] @ choice[cells[:, copy]].T


def _bound_places(name: str, segments: tuple[Segment, ...], unit: int) -> list[Indices]:
    """Places of each segment of the variable that is not free."""
    result, start = [], 0
    for segment in segments:
        if segment.variable == name and (start % unit or segment.inner % unit):
            result.append(start + segment.places())
        start += segment.length
    return result


def _apart(uses: list[Use], m: int) -> bool:
    """Whether no channel has two places in one group."""
    if not uses:
        return False
    marks = np.sort(np.hstack([use.places // m for use in uses]), axis=1)
    return not bool((np.diff(marks, axis=1) == 0).any())
