"""`onnxprune plan` and `onnxprune apply`: what they hand to the pipeline, and what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from onnxprune import pipeline
from onnxprune.cli.main import cli
from onnxprune.core.budget import Budget
from onnxprune.core.plan import Plan, PlannedCost
from onnxprune.core.result import Result
from onnxprune.core.tiling import TiledLayer, Tiling
from onnxprune.recipe import Planning, Recipe
from onnxprune.report.schema import ModelRecord, PlanRecord, Report

LAYER = TiledLayer("/conv2", "w", "Conv", 1, 8, 8, 2, 4, ((0, 1), (1, 3)))
PLAN = Plan(
    "ab" * 32,
    {"/conv1": 16, "/conv2": 8},
    {"/conv1": tuple(range(6)), "/conv2": tuple(range(8))},
    {"criterion": "auto"},
    tiling=Tiling((LAYER,)),
    tool_version="1.2",
    budgets=(Budget("flops", 0.4), Budget("latency", 0.6)),
    costs={"flops": PlannedCost(1e6, 390e3), "size": PlannedCost(2e6, 1e6)},
).signed()


@pytest.fixture
def planned(monkeypatch):
    """Puts a pipeline in place that gives `PLAN`; gives the options that it gets."""
    given = []
    monkeypatch.setattr(pipeline, "plan", lambda recipe, on_event: given.append(recipe) or PLAN)
    return given


def _run(line):
    return CliRunner().invoke(cli, line.split())


def test_plan_hands_every_option_on(planned):
    outcome = _run(
        "plan net.onnx -o p.json --flops 0.4 --data d.npz --criterion taylor --allocator dsa --align 4 --pattern both "
        "--block 2x4 --epochs 5 --lr 0.1 --provider cpu --threads 2 --seed 7 --approximate --no-permute"
    )
    assert outcome.exit_code == 0, outcome.output
    assert planned == [
        Planning(
            model="net.onnx",
            out="p.json",
            flops=0.4,
            data="d.npz",
            criterion="taylor",
            allocator="dsa",
            align=4,
            pattern="both",
            block="2x4",
            epochs=5,
            lr=0.1,
            provider="cpu",
            threads=2,
            seed=7,
            approximate=True,
            permute=False,
        )
    ]
    assert planned[0].out_path == Path("p.json")
    _run("plan nets/net.onnx --flops 0.4")
    assert planned[1].out_path == Path("net.plan.json")


def test_plan_prints_costs_against_budgets_and_what_stays(planned):
    outcome = _run("plan net.onnx --flops 0.4")
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert "MACs 1.00 M 390 k 39 % 400 k 97.5 %" in lines
    assert "bytes of weights 2.00 MB 1.00 MB 50 % – –" in lines
    assert any(line.startswith("latency") and line.endswith("timed") for line in lines)
    assert "/conv1 6 16 37.5 %" in lines
    assert "/conv2 2 4 50 % 2 × 4" in lines
    assert "The plan was written to net.plan.json. Nothing was pruned: `onnxprune apply` carries it out." in lines


def test_plan_prints_the_plan_itself_for_machines(planned):
    outcome = _run("plan net.onnx --flops 0.4 --json")
    assert Plan.from_json(outcome.stdout) == PLAN


def test_plan_leaves_aside_where_the_run_of_a_recipe_goes(planned, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'model = "net.onnx"\nflops = 0.4\nout = "slim.onnx"\nreport = "r.json"\nrun_dir = "run"\nseed = 4\n'
    )
    outcome = _run(f"plan --recipe {recipe}")
    assert outcome.exit_code == 0, outcome.output
    assert (planned[0].out_path, planned[0].report_path, planned[0].run_path) == (Path("net.plan.json"), None, None)
    assert (planned[0].seed, planned[0].model) == (4, tmp_path / "net.onnx")


def test_apply_hands_every_option_on(monkeypatch):
    given = []
    report = Report(
        command="onnxprune apply net.onnx plan.json",
        model=ModelRecord(file="net.onnx", sha256="cd"),
        plan=PlanRecord(file="plan.json", model_sha256="cd", tool_version="1.2"),
    )

    def compress(recipe, on_event):
        given.append(recipe)
        return Result(recipe.out_path, PLAN, report.model_dump(mode="json"))

    monkeypatch.setattr(pipeline, "compress", compress)
    line = (
        "apply net.onnx plan.json -o slim.onnx --flops 0.5 --memory 0.9 --data d.npz --eval-data e.npz --epochs 2 "
        "--no-recover --block-sparse never --other-weights --gate speedup>=1 --run-dir run --seed 3"
    )
    outcome = _run(line)
    assert outcome.exit_code == 0, outcome.output
    assert given == [
        Recipe(
            model="net.onnx",
            plan="plan.json",
            out="slim.onnx",
            flops=0.5,
            memory=0.9,
            data="d.npz",
            eval_data="e.npz",
            epochs=2,
            recover=False,
            block_sparse="never",
            other_weights=True,
            gates="speedup>=1",
            run_dir="run",
            seed=3,
        )
    ]
    said = " ".join(outcome.stdout.split())
    assert "Carried out plan.json, made by onnxprune 1.2; nothing was scored or allocated." in said
    assert json.loads(_run(f"{line} --json").stdout)["plan"]["file"] == "plan.json"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plan net.onnx", "There is no budget to meet"),
        ("plan net.onnx --flops 0.7,0.5", "one value of each budget"),
        ("plan net.onnx --flops 0.5 --gate speedup>=1", "--gate"),
        ("plan net.onnx --flops 0.5 -o net.onnx", "are the same file"),
        ("apply net.onnx", "PLAN"),
        ("apply net.onnx plan.json --criterion taylor", "--criterion"),
        ("apply net.onnx plan.json --flops 0.7,0.5", "A plan is one point"),
        ("apply net.onnx plan.json -o plan.json", "are the same file"),
        ("compress net.onnx --flops 0.5 --other-weights", "there is none. Give --plan"),
    ],
)
def test_calls_that_make_no_sense_are_refused(line, message):
    outcome = _run(line)
    assert outcome.exit_code == 2, outcome.output
    assert message in " ".join(outcome.stderr.split())
