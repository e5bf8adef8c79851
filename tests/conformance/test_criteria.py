"""What every registered criterion promises, on weights of all kinds."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxprune.core.group import Group, Member
from onnxprune.criteria import CRITERIA, Criterion, ScoreContext

SIZE = 6


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    normal = rng.standard_normal((SIZE, 3, 3, 3))
    return {
        "float32": normal.astype(np.float32),
        "float16": normal.astype(np.float16),
        "bfloat16": normal.astype(ml_dtypes.bfloat16),
        "int8": rng.integers(-128, 128, (SIZE, 4)).astype(np.int8),
        "zeros": np.zeros((SIZE, 4), np.float32),
        "one dead channel": normal.astype(np.float32) * (np.arange(SIZE) != 2)[:, None, None, None],
        "tiny": (1e-30 * normal).astype(np.float32),
        "subnormal": np.full((SIZE, 2), 1e-45, np.float32),
        "huge": (1e38 * np.sign(normal)).astype(np.float32),
        "vector": rng.standard_normal(SIZE).astype(np.float32),
    }


WEIGHTS = _weights()


def member(kind: str, role: str) -> Member:
    return Member(kind, 0, role, "BatchNormalization" if WEIGHTS[kind].ndim == 1 else "Conv", f"node {kind}", 1)


def context(members: dict[str, tuple[Member, ...]], seed: int = 0) -> ScoreContext:
    groups = tuple(Group(name, SIZE, found) for name, found in members.items())
    return ScoreContext(groups, lambda name: WEIGHTS[name].copy(), lambda _, m: np.arange(SIZE), seed)


CASES = {f"{role} {kind}": (member(kind, role),) for kind in WEIGHTS for role in ("producer", "consumer", "vector")}
CASES |= {"all at once": tuple(member(kind, "producer") for kind in WEIGHTS), "no members": ()}


@pytest.fixture(params=CRITERIA.names())
def criterion(request: pytest.FixtureRequest) -> Criterion:
    return CRITERIA.get(request.param)()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_scores_are_finite_and_average_one_whatever_the_weights(criterion, case):
    (values,) = criterion.score(context({case: CASES[case]})).values.values()
    assert values.shape == (SIZE,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert values.mean() == pytest.approx(1.0) or not values.any()


def test_every_group_is_scored_in_order_and_alike_each_time(criterion):
    first, second = (criterion.score(context(CASES, seed=3)) for _ in range(2))
    assert list(first.values) == list(CASES)
    assert first.notes == second.notes
    for name in CASES:
        np.testing.assert_array_equal(first.values[name], second.values[name])


def test_weights_are_left_as_they_are(criterion):
    before = {name: value.copy() for name, value in WEIGHTS.items()}
    shared = ScoreContext(
        tuple(Group(n, SIZE, m) for n, m in CASES.items()), WEIGHTS.__getitem__, lambda _, m: np.arange(SIZE)
    )
    criterion.score(shared)
    for name, value in before.items():
        np.testing.assert_array_equal(WEIGHTS[name], value)


def test_positions_outside_the_group_do_not_count(criterion):
    weight = np.concatenate([WEIGHTS["float32"], 50 * WEIGHTS["float32"]])
    group = Group("g", SIZE, (Member("w", 0, "producer", "Conv", "node", 1),))
    labels = np.concatenate([np.arange(SIZE), np.full(SIZE, -1)])
    concatenated = criterion.score(ScoreContext((group,), lambda _: weight, lambda *_: labels)).values["g"]
    alone = ScoreContext((group,), lambda _: WEIGHTS["float32"], lambda *_: np.arange(SIZE))
    np.testing.assert_array_equal(concatenated, criterion.score(alone).values["g"])
