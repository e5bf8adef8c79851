from __future__ import annotations

import numpy as np

from onnxprune.core.group import Group
from onnxprune.criteria import CRITERIA, ScoreContext


def draw(seed: int) -> np.ndarray:
    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("random scores read no weights")

    context = ScoreContext((Group("a", 50, ()), Group("b", 50, ())), refuse, refuse, seed)
    values = CRITERIA.get("random")().score(context).values
    return np.concatenate([values["a"], values["b"]])


def test_scores_are_the_same_when_the_seed_is():
    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


def test_groups_get_scores_of_their_own():
    assert not np.array_equal(draw(0)[:50], draw(0)[50:])
