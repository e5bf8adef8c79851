"""A search for keep ratios on a model and its data, ready to be started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule
from onnxprune.core.search import Constraint, DescentOptions, SearchOptions, SearchPoint, SearchRecord
from onnxprune.train.samples import Samples
from onnxprune.trial.descend import Candidates, descend
from onnxprune.trial.search import KeepRatios, search
from onnxprune.trial.supernet import Supernet, SupernetOptions
from onnxprune.trial.switches import Switches

__all__ = ["DataSearcher"]


class DataSearcher:
    """Lets keep ratios learn (`onnxprune.allocate.base.Searcher`).

    Args:
        student: Learns under masks, and holds what it learned afterwards.
        teacher: The original.
        gates: Where masks act on the student.
        data: Training samples.
        learning: How the weights learn.
        options: How the ratios do.
        on_point: Called now and then with where the search stands, its steps in all, and the seconds left.
        descent: How an iterative method goes down.
        weigh: Gives importances of what the student has learned by then; None where those that are
            given with a search are to stay.

    Attributes:
        student: As given.
        importances: Those of what the student learned, where they were asked for: group → float64 [channels].
    """

    def __init__(
        self,
        student: OnnxModule,
        teacher: OnnxModule,
        gates: Switches,
        data: Samples,
        learning: SupernetOptions,
        options: SearchOptions,
        on_point: Callable[[SearchPoint, int, float], None],
        descent: DescentOptions | None = None,
        weigh: Callable[[OnnxModule], Mapping[str, NDArray[np.float64]]] | None = None,
    ) -> None:
        self._descent, self._weigh = descent or DescentOptions(), weigh
        self.importances: Mapping[str, NDArray[np.float64]] | None = None
        self.student, self._teacher, self._gates, self._data = student, teacher, gates, data
        self._learning, self._options, self._on_point = learning, options, on_point

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups whose channels can be switched."""
        return self._gates.groups

    @property
    def rounds(self) -> int:
        """Rounds of a method that goes down step by step."""
        return self._descent.rounds

    @property
    def constraint(self) -> Constraint:
        """How the budgets are held meanwhile."""
        return self._options.constraint

    def search(self, importances: Mapping[str, NDArray[np.float64]], ratios: KeepRatios) -> SearchRecord:
        """Moves `ratios`; returns how it went. See `onnxprune.trial.search.search`."""
        weigh = None if self._weigh is None else partial(self._weigh, self.student)
        with Supernet(self.student, self._teacher, self._gates, self._data, self._learning) as net:
            record = search(net, importances, ratios, self._options, self._on_point, weigh)
        if weigh is not None:
            self.importances = {name: np.where(importances[name] >= 0, found, -1.0) for name, found in weigh().items()}
        return record

    def descend(self, importances: Mapping[str, NDArray[np.float64]], candidates: Candidates) -> list[tuple[str, int]]:
        """Returns the way down. See `onnxprune.trial.descend.descend`."""
        with Supernet(self.student, self._teacher, self._gates, self._data, self._learning) as net:
            return descend(net, importances, candidates, self._descent, self._on_point)
