"""Channels are ranked among groups of the same make (Isomorphic Pruning, Fang et al., ECCV 2024).

Scores of a residual trunk and of a layer between two others do not compare: one is summed over
many weights, the other over two. Groups with the same operators in the same roles do. The i-th best
of n channels of all groups of one make is worth −(i + ½) / n, so every make keeps the same share,
and within it the scores decide.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.base import Problem
from onnxprune.allocate.engine import allocate
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.core.allocation import Allocation
from onnxprune.core.group import Group

__all__ = ["Isomorphic"]


@ALLOCATORS.register("isomorphic")
class Isomorphic:
    """One keep ratio for every make of group; one threshold within it."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        makes: dict[object, list[Group]] = {}
        for group in problem.groups:
            makes.setdefault(_make(group), []).append(group)
        worth: dict[str, NDArray[np.float64]] = {}
        for alike in makes.values():
            scores = np.concatenate([problem.scores[group.name] for group in alike])
            rank = np.empty(len(scores))
            rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
            parts = np.split(-(rank + 0.5) / len(scores), np.cumsum([group.size for group in alike])[:-1])
            worth |= {group.name: part for group, part in zip(alike, parts, strict=True)}
        return allocate(problem, {group.name: worth[group.name] for group in problem.groups})


def _make(group: Group) -> object:
    """Returns what two groups have in common that compare: operators and roles, and how often each."""
    return frozenset(Counter((m.op, m.role, m.slot) for m in group.members).items()), group.multiple
