from __future__ import annotations

import numpy as np

from onnxprune.allocate import select_channels
from onnxprune.core.allocation import Allocation
from onnxprune.core.plan import Plan


def test_best_channels_are_kept_in_ascending_order():
    scores = {"a": np.array([0.1, 0.9, 0.5, 0.7]), "b": np.array([3.0, 1.0])}
    plan = select_channels(Allocation({"a": 2, "b": 1}, {}, {}), scores, "abc", {"criterion": "magnitude"})
    assert plan.kept == {"a": (1, 3), "b": (0,)}
    assert plan.sizes == {"a": 4, "b": 2}
    assert Plan.from_json(plan.to_json()) == plan


def test_lower_index_is_kept_when_scores_are_equal():
    plan = select_channels(Allocation({"a": 3}, {}, {}), {"a": np.array([1.0, 1.0, 2.0, 1.0, 1.0])})
    assert plan.kept["a"] == (0, 1, 2)
