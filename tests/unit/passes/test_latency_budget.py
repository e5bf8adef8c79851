"""Latency budgets, on a machine whose times are a formula that the planner does not know."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bridging import convnet, labelled

import onnxprune
from onnxprune.core.errors import BudgetError, UsageError
from onnxprune.cost import latency_samples
from onnxprune.cost.latency_fit import LatencySample
from onnxprune.passes import learn_latency
from onnxprune.passes.meet_latency import TRIES, Race

FIXED, PER_WEIGHT = 30.0, 1.0
pytestmark = pytest.mark.usefixtures("quick_latency")


def cost_of(model) -> float:
    """What a run of a model takes: a fixed part, and a part for its weights."""
    weights = sum(float(np.prod(c.shape)) for c in model.initializers().values())
    return FIXED + PER_WEIGHT * weights


class Machine:
    """Times by `cost_of`; `bias` is by how much cut models take longer in the end than while it was learned."""

    def __init__(self, monkeypatch, tmp_path, bias: float = 1.0) -> None:
        self.bias, self.timed, self.tried = bias, 0, 0
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        draw = learn_latency.draw_widths
        monkeypatch.setattr(learn_latency, "draw_widths", lambda sizes, units, _, seed: draw(sizes, units, 16, seed))
        monkeypatch.setattr(learn_latency, "time_widths", self.time_widths)
        monkeypatch.setattr(Race, "__init__", lambda race, original, *_: setattr(race, "original", original))
        monkeypatch.setattr(Race, "ratio", lambda race, slim: self.ratio(race.original, slim))

    def time_widths(self, original, working, analysis, feeds, widths, options):
        for counts in widths:
            self.timed += 1
            plan = latency_samples.Plan("", analysis.sizes, {n: tuple(range(k)) for n, k in counts.items()})
            cut = latency_samples.prune(working, analysis, plan)
            yield LatencySample(dict(counts), cost_of(cut) / cost_of(original))

    def ratio(self, original, slim) -> float:
        self.tried += 1
        return self.bias * cost_of(slim) / cost_of(original)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(convnet(), path)
    return path


def compress(model, **options):
    return onnxprune.compress(model, **({"align": 1, "out": model.with_name("slim.onnx")} | options))


def spent(machine, model, wanted: float) -> float:
    """The slim model's time over what it may take."""
    slim, whole = (onnxprune.graph.load_model(model.with_name(name)) for name in ("slim.onnx", "net.onnx"))
    return machine.bias * cost_of(slim) / (wanted * cost_of(whole))


@pytest.mark.parametrize(("wanted", "bias"), [(0.4, 1.0), (0.6, 1.25)])
def test_the_budget_is_met_also_when_the_prediction_is_off(model, tmp_path, monkeypatch, wanted, bias):
    machine = Machine(monkeypatch, tmp_path, bias)
    result = compress(model, latency=wanted)
    assert 0.93 <= spent(machine, model, wanted) <= 1.0
    assert machine.tried <= TRIES
    assert any("met by timing" in note for note in result.report["notes"])
    assert [b["resource"] for b in result.report["budgets"]] == ["latency"]


@pytest.mark.parametrize(("options", "name"), [({"data": labelled(64), "epochs": 0}, "knapsack"), ({}, "global")])
def test_what_time_buys_is_weighed_where_scores_are_losses(model, tmp_path, monkeypatch, options, name):
    machine = Machine(monkeypatch, tmp_path)
    report = compress(model, latency=0.6, **options).report
    assert 0.93 <= spent(machine, model, 0.6) <= 1.0
    assert any(f"shared out by {name}," in note for note in report["notes"])


def test_other_budgets_hold_beside_it(model, tmp_path, monkeypatch):
    machine = Machine(monkeypatch, tmp_path)
    report = compress(model, latency=0.9, params=0.3).report
    assert report["after"]["params"] <= 0.3 * report["before"]["params"]
    assert spent(machine, model, 0.9) <= 1.0


def test_a_second_run_times_nothing_anew(model, tmp_path, monkeypatch):
    machine = Machine(monkeypatch, tmp_path)
    compress(model, latency=0.6)
    before = machine.timed
    compress(model, latency=0.5)
    assert machine.timed == before > 10


def test_a_latency_out_of_reach_is_said_before_anything_is_written(model, tmp_path, monkeypatch):
    Machine(monkeypatch, tmp_path)
    with pytest.raises(BudgetError, match="latency"):
        compress(model, latency=0.01)
    assert not model.with_name("slim.onnx").exists()


def test_a_budget_that_timing_finds_out_of_reach_is_an_error(model, tmp_path, monkeypatch):
    Machine(monkeypatch, tmp_path, bias=20.0)
    with pytest.raises(BudgetError, match="the fastest of"):
        compress(model, latency=0.3)
    assert not model.with_name("slim.onnx").exists()


def test_a_figure_needs_its_unit(model):
    with pytest.raises(UsageError, match="--latency 4"):
        compress(model, latency=4)
