"""What every registered criterion promises, on weights of all kinds."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxprune.core.errors import UsageError
from onnxprune.core.group import Group, Member
from onnxprune.criteria import CRITERIA, Criterion, ScoreContext
from onnxprune.criteria.compare import comparable

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


class Gradients:
    """Stands in for `onnxprune.trial.probe.Probe`: some rows for every group with members, zeros for one."""

    samples = 32

    def __init__(self, groups: tuple[Group, ...], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.draws = {g.name: rng.standard_normal((4, g.size)) * ("zeros" not in g.name) for g in groups if g.members}
        self.slopes = {name: 1e-9 * rows for name, rows in self.draws.items()}
        self.magnitudes = {name: np.abs(rows).mean(0) for name, rows in self.draws.items()}
        self.ranks = {name: np.full(rows.shape[1], 3.0) for name, rows in self.draws.items()}


def context(members: dict[str, tuple[Member, ...]], seed: int = 0, reduce="mean", normalize="auto") -> ScoreContext:
    groups = tuple(Group(name, SIZE, found) for name, found in members.items())
    data = Gradients(groups, seed)
    return ScoreContext(
        groups, lambda name: WEIGHTS[name].copy(), lambda _, m: np.arange(SIZE), seed, data, reduce, normalize
    )


CASES = {f"{role} {kind}": (member(kind, role),) for kind in WEIGHTS for role in ("producer", "consumer", "vector")}
CASES |= {"all at once": tuple(member(kind, "producer") for kind in WEIGHTS), "no members": ()}


@pytest.fixture(params=CRITERIA.names())
def criterion(request: pytest.FixtureRequest) -> Criterion:
    return CRITERIA.get(request.param)()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_scores_are_finite_and_average_one_whatever_the_weights(criterion, case):
    scores = criterion.score(context({case: CASES[case]}))
    (values,) = scores.values.values()
    assert values.shape == (SIZE,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert scores.unit != "share" or values.mean() == pytest.approx(1.0) or not values.any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reduce", ["mean", "max", "sum"])
@pytest.mark.parametrize("normalize", ["auto", "mean", "max", "gaussian", "none"])
def test_options_leave_scores_finite_and_in_order(criterion, reduce, normalize):
    plain = criterion.score(context(CASES, reduce=reduce))
    found = comparable(criterion.score(context(CASES, reduce=reduce, normalize=normalize)), normalize)
    for name, values in found.values.items():
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        # ties of subnormal numbers aside, no option changes which channel of a group goes first
        if "subnormal" not in name:
            steps = np.diff(values[np.argsort(plain.values[name], kind="stable")])
            assert (steps >= -1e-9 * np.abs(values).max(initial=0.0)).all(), name


def test_every_group_is_scored_in_order_and_alike_each_time(criterion):
    first, second = (criterion.score(context(CASES, seed=3)) for _ in range(2))
    assert list(first.values) == list(CASES)
    assert first.notes == second.notes
    for name in CASES:
        np.testing.assert_array_equal(first.values[name], second.values[name])


def test_weights_are_left_as_they_are(criterion):
    before = {name: value.copy() for name, value in WEIGHTS.items()}
    groups = tuple(Group(n, SIZE, m) for n, m in CASES.items())
    shared = ScoreContext(groups, WEIGHTS.__getitem__, lambda _, m: np.arange(SIZE), 0, Gradients(groups, 0))
    criterion.score(shared)
    for name, value in before.items():
        np.testing.assert_array_equal(WEIGHTS[name], value)


def test_positions_outside_the_group_do_not_count(criterion):
    weight = np.concatenate([WEIGHTS["float32"], 50 * WEIGHTS["float32"]])
    group = Group("g", SIZE, (Member("w", 0, "producer", "Conv", "node", 1),))
    labels = np.concatenate([np.arange(SIZE), np.full(SIZE, -1)])
    data = Gradients((group,), 0)
    concatenated = criterion.score(ScoreContext((group,), lambda _: weight, lambda *_: labels, 0, data)).values["g"]
    alone = ScoreContext((group,), lambda _: WEIGHTS["float32"], lambda *_: np.arange(SIZE), 0, data)
    np.testing.assert_array_equal(concatenated, criterion.score(alone).values["g"])


@pytest.mark.parametrize("name", ["fisher", "taylor", "activation", "hrank"])
def test_criteria_that_look_at_data_ask_for_them(name):
    with pytest.raises(UsageError, match="Give --data"):
        CRITERIA.get(name)().score(
            ScoreContext((Group("g", SIZE, ()),), lambda name: WEIGHTS[name], lambda *_: np.arange(SIZE))
        )


@pytest.mark.parametrize("name", ["fisher", "taylor"])
def test_a_group_without_gradients_counts_like_the_median_group_and_is_named(name):
    groups = tuple(Group(n, SIZE, (member("float32", "producer"),)) for n in ("a", "b", "c", "int8 one"))
    data = Gradients(groups, 0)
    for rows in (data.draws, data.slopes):
        del rows["int8 one"]
    scores = CRITERIA.get(name)().score(
        ScoreContext(groups, lambda _: WEIGHTS["float32"], lambda *_: np.arange(SIZE), 0, data)
    )
    means = [scores.values[n].mean() for n in ("a", "b", "c")]
    assert scores.values["int8 one"].mean() == pytest.approx(np.median(means))
    assert [note.split()[0] for note in scores.notes] == ["int8"]
