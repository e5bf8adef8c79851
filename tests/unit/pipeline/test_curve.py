"""Several budgets in one run: the same models as one by one, and one report."""

from __future__ import annotations

import json

import pytest
from bridging import labelled
from click.testing import CliRunner

import onnxprune
from onnxprune.cli.main import cli
from onnxprune.core.errors import BudgetError, GateError, UsageError
from onnxprune.core.events import PassFinished
from onnxprune.recipe import curve_of


def compress(model, **options):
    given = {"data": labelled(96), "epochs": 1, "batch_size": 32, "align": 1, "out": model.with_name("slim.onnx")}
    return onnxprune.compress(model, **(given | options))


@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"phases": 2, "epochs": 2}, marks=pytest.mark.slow)],
    ids=str,
)
def test_each_point_is_the_model_of_a_run_of_its_own(model, options):
    result = compress(model, flops=(0.7, 0.4), **options)
    assert [point.path.name for point in result.points] == ["slim.flops-0.7.onnx", "slim.flops-0.4.onnx"]
    for point, share in zip(result.points, (0.7, 0.4), strict=True):
        alone = compress(model, flops=share, out=model.with_name("alone.onnx"), **options)
        assert alone.path.read_bytes() == point.path.read_bytes()
        assert alone.plan.kept == point.plan.kept


def test_groups_and_scores_are_found_once(model):
    seen = []
    compress(model, flops="0.7,0.5,0.3", epochs=0, on_event=lambda e: seen.append(e))
    finished = [event.name for event in seen if isinstance(event, PassFinished)]
    assert finished.count("find_groups") == finished.count("score_channels") == 1
    assert finished.count("certify") == 3


def test_the_curve_is_one_report_beside_those_of_the_points(model):
    result = compress(model, flops=(0.7, 0.4), eval_data=labelled(96), epochs=0)
    curve = json.loads(model.with_name("slim.curve.json").read_text())
    assert curve == result.report
    assert [point["budgets"][0]["met"] for point in curve["points"]] == [True, True]
    assert all(point["evaluation"]["after"]["top1"] is not None for point in curve["points"])
    assert model.with_name("slim.flops-0.7.report.json").exists()


def test_budgets_that_list_several_go_together_and_others_hold_throughout(model):
    result = compress(model, flops=(0.8, 0.5), params=(0.7, 0.4), size=0.9, epochs=0)
    assert [p.path.name for p in result.points] == ["slim.flops-0.8-params-0.7.onnx", "slim.flops-0.5-params-0.4.onnx"]
    for point in result.points:
        assert [budget["resource"] for budget in point.report["budgets"]] == ["flops", "params", "size"]


def test_the_command_line_prints_the_curve(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    ran = CliRunner().invoke(cli, ["compress", "net.onnx", "--flops", "60%,30%", "-q"])
    assert ran.exit_code == 0, ran.output
    assert "net.slim.flops-60pct.onnx" in ran.output
    assert model.with_name("net.slim.curve.json").exists()
    ran = CliRunner().invoke(cli, ["compress", "net.onnx", "--flops", "60%,30%", "-q", "--json"])
    assert len(json.loads(ran.output)["points"]) == 2


def test_a_missed_gate_comes_after_all_points(model):
    with pytest.raises(GateError) as error:
        compress(model, flops=(0.7, 0.4), epochs=0, gates="macs_ratio<=0.5")
    assert len(error.value.outcome.points) == 2
    assert model.with_name("slim.flops-0.4.onnx").exists()


def test_a_point_out_of_reach_leaves_those_before_it(model):
    with pytest.raises(BudgetError):
        compress(model, flops=(0.7, 1e-6), epochs=0)
    assert model.with_name("slim.flops-0.7.onnx").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flops": (0.7, 0.5), "params": (0.5, 0.4, 0.3)}, "list equally many"),
        ({"flops": (0.7, 0.7)}, "one value twice"),
        ({"flops": "0.7,2"}, "more than the original"),
        ({"flops": "0.7,fast"}, "not a budget"),
    ],
)
def test_lists_that_make_no_sense_are_refused(model, options, message):
    with pytest.raises(UsageError, match=message):
        compress(model, **options)


def test_one_value_is_no_curve():
    assert curve_of({"model": "net.onnx", "flops": 0.5}) is None
    assert curve_of({"model": "net.onnx", "flops": "0.5"}) is None
