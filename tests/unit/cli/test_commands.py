"""The commands: what they hand to the pipeline, what goes to stdout and what to stderr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from click.testing import Result as Outcome

from onnxprune import pipeline
from onnxprune.cli.main import cli
from onnxprune.core import errors
from onnxprune.core.budget import Budget
from onnxprune.core.events import EventHandler, Note, PassStarted, TrainProgress
from onnxprune.core.group import FrozenAxis, Group, Member
from onnxprune.core.plan import Plan
from onnxprune.core.result import Inspection, Result
from onnxprune.recipe import Comparison, Recipe
from onnxprune.report.schema import Cost, GroupRecord, ModelRecord, Report

PRODUCER = Member("conv1.weight", 0, "producer", "Conv", "/conv1", 1)
CONSUMER = Member("conv2.weight", 1, "consumer", "Conv", "/conv2", 1)
LAST = Member("fc.weight", 0, "producer", "Gemm", "/fc", 1)
INSPECTION = Inspection(
    model="net.onnx",
    inputs={"image": ("float32", ("batch", 3, 32, 32))},
    outputs={"logits": ("float32", ("batch", 10))},
    opset=20,
    macs=40.8e6,
    params=274e3,
    size_bytes=1_096_000,
    groups=(Group("/conv1", 16, (PRODUCER, CONSUMER)),),
    group_macs={"/conv1": 0.25},
    frozen=(FrozenAxis("/fc", 10, (LAST,), ("the axis is an output of the model: Gemm '/fc'",)),),
    reachable={"flops": (0.031, 1.0)},
    unknown_ops={"my::Thing": 2},
    notes=("The batch is dynamic.",),
)
REPORT = Report(
    command="onnxprune compress net.onnx --flops 0.4",
    model=ModelRecord(file="net.onnx", sha256="", opset=20),
    before=Cost(macs=40.8e6, params=274e3, file_bytes=1_100_000),
    after=Cost(macs=16.3e6, params=120e3, file_bytes=480_000),
    groups=(GroupRecord(name="/conv1", size=16, kept=8),),
)


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """Runs the command line in a process-free way."""

    def call(*arguments: str) -> Outcome:
        return CliRunner().invoke(cli, list(arguments))

    return call


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Puts a pipeline in place that tells events and returns `REPORT`; gives the recipes it gets."""
    given: list[Recipe] = []

    def compress(recipe: Recipe, on_event: EventHandler) -> Result:
        given.append(recipe)
        on_event(PassStarted("find_groups"))
        on_event(Note("Something to know."))
        on_event(TrainProgress(1, 1, 2, 2, loss=0.5, lr=0.1, metric=None, seconds_left=0.0))
        plan = Plan("", {"/conv1": 16}, {"/conv1": tuple(range(8))})
        return Result(recipe.out_path, plan, REPORT.model_dump(mode="json"))

    monkeypatch.setattr(pipeline, "compress", compress)
    return given


def test_compress_hands_every_option_to_the_recipe(run: Callable[..., Outcome], recipes: list[Recipe]) -> None:
    line = (
        "compress net.onnx -o slim.onnx --flops 0.4 --params 50% --size 800kB --data d.npz --eval-data e.npz "
        "--image-mean 0.5 --image-std 0.1,0.2,0.3 --epochs 4 --batch-size 16 --lr 0.02 --allocator uniform "
        "--criterion bn_scale --align 4 --provider cpu --threads 2 --seed 7 --run-dir run --report r.json"
    )
    outcome = run(*line.split())
    assert outcome.exit_code == 0, outcome.output
    (recipe,) = recipes
    assert recipe == Recipe(
        model=Path("net.onnx"),
        out=Path("slim.onnx"),
        flops=Budget("flops", 0.4),
        params=Budget("params", 0.5),
        size=Budget("size", 800e3, relative=False),
        data="d.npz",
        eval_data="e.npz",
        image_mean=(0.5,),
        image_std=(0.1, 0.2, 0.3),
        epochs=4,
        batch_size=16,
        lr=0.02,
        allocator="uniform",
        criterion="bn_scale",
        align=4,
        provider="cpu",
        threads=2,
        seed=7,
        run_dir=Path("run"),
        report=Path("r.json"),
    )


def test_compress_prints_a_table_on_stdout_and_progress_on_stderr(
    run: Callable[..., Outcome], recipes: list[Recipe]
) -> None:
    outcome = run("compress", "net.onnx", "--flops", "0.4")
    assert "MACs per sample" in outcome.stdout
    assert "/conv1" in outcome.stdout
    assert "note" not in outcome.stdout
    assert outcome.stderr.splitlines() == ["note: Something to know.", "epoch 1/1, loss 0.5000, lr 0.1"]


def test_compress_json_is_the_report_and_nothing_else(run: Callable[..., Outcome], recipes: list[Recipe]) -> None:
    outcome = run("compress", "net.onnx", "--flops", "0.4", "--json", "-vv")
    assert json.loads(outcome.stdout) == REPORT.model_dump(mode="json")


def test_quiet_leaves_stderr_empty(run: Callable[..., Outcome], recipes: list[Recipe]) -> None:
    assert run("compress", "net.onnx", "--flops", "0.4", "--quiet").stderr == ""


def test_command_line_overrides_the_recipe_file(
    run: Callable[..., Outcome], recipes: list[Recipe], tmp_path: Path
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('model = "net.onnx"\nflops = 0.4\nseed = 3\n')
    assert run("compress", "--recipe", str(file), "--flops", "0.6").exit_code == 0
    assert (recipes[0].model, recipes[0].flops, recipes[0].seed) == (tmp_path / "net.onnx", Budget("flops", 0.6), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compress net.onnx", "There is no budget to meet"),
        ("compress --flops 0.4", "MODEL is missing"),
        ("compress net.onnx --flops 0", "--flops 0: a budget is greater than zero"),
        ("compress net.onnx --flops 1.7", "--flops 1.7: more than the original"),
        ("compress net.onnx --flops 0.4 --epochs x", "'x' is not a valid integer"),
        ("compress net.onnx --flops 0.4 --no-such", "No such option"),
        ("compress net.onnx --flops 0.4 --provider tpu", "'tpu' is not one of"),
        ("validate a.onnx b.onnx --image-mean 0.5", "--image-mean speaks of images"),
        ("validate a.onnx", "Missing argument 'SLIM'"),
        ("validate a.onnx b.onnx --batches 1,x", "expected whole numbers separated by commas"),
        ("validate a.onnx b.onnx --batches 0", "greater than or equal to 1"),
        ("validate a.onnx b.onnx --report r.html", ".html files are written beside it; end it in .json"),
        ("report", "Missing argument 'REPORT.JSON...'"),
        ("report a.json -o page.pdf", "--out page.pdf: end it in .html, .md or .xml"),
        ("inspect", "Missing argument 'MODEL'"),
    ],
)
def test_usage_errors_exit_with_two(run: Callable[..., Outcome], arguments: str, message: str) -> None:
    outcome = run(*arguments.split())
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.stderr.split())
    assert outcome.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ModelError("net.onnx: not an ONNX file."), 1),
        (errors.DataError("d.npz: labels are out of range."), 1),
        (errors.OutputError("slim.onnx: cannot be written."), 1),
        (errors.UsageError("There is no allocator called 'x'."), 2),
        (errors.GateError("The gate was not met."), 3),
        (errors.CertificateError("The models disagree."), 4),
        (errors.BudgetError("At least 3 % is needed."), 5),
        (errors.InternalError("A promise was broken."), 70),
        (errors.Interrupted("Stopped."), 130),
        (KeyboardInterrupt(), 130),
    ],
)
@pytest.mark.parametrize("command", ["compress net.onnx --flops 0.4", "inspect net.onnx", "validate a.onnx b.onnx"])
def test_errors_of_the_pipeline_become_exit_codes(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, command: str, error: BaseException, code: int
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, command.split()[0], fail)
    outcome = run(*command.split())
    assert outcome.exit_code == code
    assert str(error) in outcome.stderr
    assert ("Traceback" in outcome.stderr) == (code == 70)
    assert outcome.stdout == ""


def test_inspect_lists_inputs_groups_frozen_reasons_and_range(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "inspect", lambda model, approximate, graph, on_event: INSPECTION)
    outcome = run("inspect", "net.onnx")
    assert outcome.exit_code == 0, outcome.output
    shown = " ".join(outcome.stdout.split())
    for part in (
        "image: float32 [batch, 3, 32, 32]",
        "/conv1 16 25.0 % – written by /conv1; read by /conv2",
        "the axis is an output of the model: Gemm '/fc': /fc 10",
        "reachable flops 3.1 % to 100.0 % of the original",
        "my::Thing (2)",
        "The batch is dynamic.",
    ):
        assert part in shown


def test_inspect_says_so_when_nothing_can_be_pruned(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = dataclasses.replace(INSPECTION, groups=(), group_macs={})
    monkeypatch.setattr(pipeline, "inspect", lambda model, approximate, graph, on_event: empty)
    assert "No channel can be pruned" in run("inspect", "net.onnx").stdout


def test_inspect_json_holds_every_field(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "inspect", lambda model, approximate, graph, on_event: INSPECTION)
    content = json.loads(run("inspect", "net.onnx", "--json").stdout)
    assert set(content) == {field.name for field in dataclasses.fields(Inspection)}
    assert content["groups"][0]["members"][1]["initializer"] == "conv2.weight"
    assert content["frozen"][0]["reasons"] == ["the axis is an output of the model: Gemm '/fc'"]


def test_validate_hands_over_its_options_and_prints_the_report(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def validate(comparison: Comparison, on_event: EventHandler) -> Report:
        given.update(dict(comparison))
        return REPORT

    monkeypatch.setattr(pipeline, "validate", validate)
    line = (
        "validate a.onnx b.onnx --data e.npz --image-mean 0.5 --provider cpu --threads 1 --batches 1,8 --profile "
        "--report r.json --json"
    )
    outcome = run(*line.split())
    assert json.loads(outcome.stdout)["after"]["macs"] == 16.3e6
    assert (given["batches"], given["profile"], given["report"]) == ((1, 8), True, Path("r.json"))
    assert (given["original"], given["slim"], given["data"]) == (Path("a.onnx"), Path("b.onnx"), "e.npz")
    assert (given["image_mean"], given["image_std"], given["provider"], given["threads"]) == ((0.5,), None, "cpu", 1)


def test_help_of_compress_lists_every_option_and_default_of_the_recipe(run: Callable[..., Outcome]) -> None:
    text = " ".join(run("compress", "--help").stdout.split())
    for name, field in Recipe.model_fields.items():
        flag = {"model": "MODEL", "gates": "--gate "}.get(name, f"--{name.replace('_', '-')}")
        assert flag in text
        # a switch is off, and a list empty, unless it is given
        if field.default not in (None, ..., ()) and field.default is not False and not field.is_required():
            shown = "on" if field.default is True else field.default
            assert f"[default: {shown}]" in text, name
    assert all(flag in text for flag in ("-o,", "--recipe", "--json", "--quiet", "--verbose"))


def test_help_names_commands_and_exit_codes(run: Callable[..., Outcome]) -> None:
    text = " ".join(run("--help").stdout.split())
    assert all(name in text for name in ("compress", "inspect", "validate", "doctor"))
    assert "5 the budget cannot be met" in text


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_json_and_says_what_each_option_does(command: str) -> None:
    options = [p for p in cli.commands[command].params if isinstance(p, click.Option)]
    assert "--json" in {flag for option in options for flag in option.opts}
    assert [option.name for option in options if not option.help] == []


def test_version_is_the_package_version(run: Callable[..., Outcome]) -> None:
    assert run("--version").stdout.split() == ["onnxprune,", "version", "0.1.0"]
