"""A learner without a model: what a group loses with its channels is a formula."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.allocate import Problem
from onnxprune.core.search import DescentOptions, SearchOptions, SearchPoint, SearchRecord
from onnxprune.trial.descend import Candidates, descend
from onnxprune.trial.search import KeepRatios, search

__all__ = ["ToyLearner", "ToySearcher"]


class ToyLearner:
    """Loses Σ_k worth_k (Σ_i b_i (1 − m_i) / Σ_i b_i)², and learns nothing.

    Args:
        importances: Group → b, [channels]; what is below zero counts nothing.
        worth: Group → what is lost with all of its channels; 1 where absent.
        steps: Of the search.
        deaf: Groups that masks cannot switch.
    """

    def __init__(
        self,
        importances: Mapping[str, NDArray[np.float64]],
        worth: Mapping[str, float],
        steps: int = 20,
        deaf: tuple[str, ...] = (),
    ) -> None:
        self.steps = steps
        self.groups = tuple(name for name in importances if name not in deaf)
        self.seen: list[dict[str, NDArray[np.float64]]] = []
        self._parts = {}
        for name in self.groups:
            b = np.maximum(importances[name], 0.0) + 1e-9
            self._parts[name] = torch.from_numpy(worth.get(name, 1.0) ** 0.5 * b / b.sum())

    def learn(self, masks: Mapping[str, torch.Tensor]) -> float:
        """Remembers the masks; returns the loss."""
        self.seen.append({name: mask.detach().numpy().copy() for name, mask in masks.items()})
        return float(self.loss(masks).detach())

    def loss(self, masks: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Returns the loss."""
        return torch.stack([(part * (1 - masks[name])).sum() ** 2 for name, part in self._parts.items()]).sum()

    def score(self, masks: Mapping[str, torch.Tensor], batches: int) -> float:
        """Returns the loss."""
        return float(self.loss(masks))

    def snapshot(self) -> object:
        """Returns nothing: nothing is learned."""
        return None

    def rewind(self, snapshot: object) -> None:
        """Does nothing."""


class ToySearcher:
    """Searches with a `ToyLearner`.

    Args:
        problem: Names the groups.
        worth: As `ToyLearner` takes it.
        steps: Likewise.
        deaf: Likewise.
        options: Of the search.
    """

    def __init__(
        self,
        problem: Problem,
        worth: Mapping[str, float] | None = None,
        steps: int = 20,
        deaf: tuple[str, ...] = (),
        options: SearchOptions | None = None,
    ) -> None:
        self.groups = tuple(name for name in problem.sizes if name not in deaf)
        self.options = options or SearchOptions()
        self.constraint, self.rounds = self.options.constraint, steps
        self.points: list[SearchPoint] = []
        self.learner: ToyLearner | None = None
        self._worth, self._steps, self._deaf = worth or {}, steps, deaf

    def search(self, importances: Mapping[str, NDArray[np.float64]], ratios: KeepRatios) -> SearchRecord:
        """Searches; see `onnxprune.allocate.base.Searcher`."""
        self.learner = ToyLearner(importances, self._worth, self._steps, self._deaf)
        return search(self.learner, importances, ratios, self.options, lambda point, *_: self.points.append(point))

    def descend(self, importances: Mapping[str, NDArray[np.float64]], candidates: Candidates) -> list[tuple[str, int]]:
        """Goes down; see `onnxprune.allocate.base.Searcher`."""
        self.learner = ToyLearner(importances, self._worth, self._steps, self._deaf)
        options = DescentOptions(rounds=self.rounds, short_steps=1, judged=1)
        return descend(self.learner, importances, candidates, options, lambda point, *_: self.points.append(point))
