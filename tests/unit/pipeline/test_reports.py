"""What runs report: of a failure, of other batch sizes and of nodes, and the command that repeats them."""

from __future__ import annotations

import json
import shlex

import onnx
import pytest
from bridging import convnet, labelled
from click.testing import CliRunner

import onnxprune
from onnxprune.cli.main import cli
from onnxprune.core.errors import BudgetError, OutputError
from onnxprune.core.events import Note
from onnxprune.passes.certify import Certify
from onnxprune.report.schema import read_report


def _out(model):
    return model.with_name("slim.onnx")


def _report(model):
    return read_report(model.with_name("slim.report.json"))


def test_run_that_fails_leaves_a_report_and_no_model(model):
    notes = []
    with pytest.raises(BudgetError):
        onnxprune.compress(model, flops=1e-6, out=_out(model), on_event=notes.append)
    assert not _out(model).exists()
    report = _report(model)
    assert (report.status, report.output, report.after) == ("failed", None, None)
    assert report.failure is not None
    assert (report.failure.kind, report.failure.exit_code, report.failure.during) == (
        "BudgetError",
        5,
        "allocate_budget",
    )
    assert "out of reach" in report.failure.message
    assert report.before is not None
    assert report.before.macs
    assert report.frozen
    (budget,) = report.budgets
    assert (budget.reached, budget.met) == (None, None)
    assert budget.limit == pytest.approx(1e-6 * report.before.macs)
    assert [record.name for record in report.passes][-1] == "score_channels"
    assert "Why it failed" in model.with_name("slim.report.html").read_text()
    assert "BudgetError" in model.with_name("slim.report.md").read_text()
    assert any(isinstance(event, Note) and "slim.report.json" in event.text for event in notes)


def test_bug_leaves_a_report_with_its_traceback(model, monkeypatch):
    def broken(self, bench):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(Certify, "run", broken)
    with pytest.raises(ZeroDivisionError):
        onnxprune.compress(model, flops=0.5, out=_out(model))
    failure = _report(model).failure
    assert failure is not None
    assert (failure.kind, failure.exit_code, failure.during) == ("ZeroDivisionError", 70, "certify")
    assert "Traceback" in failure.message
    assert _report(model).groups  # what was decided by then


def test_refused_run_leaves_nothing(model):
    with pytest.raises(onnxprune.OnnxPruneError):
        onnxprune.compress(model, flops=0.5, out=_out(model), data=model.with_name("none.npz"))
    assert [p.name for p in model.parent.iterdir()] == ["net.onnx"]


def test_failure_is_told_though_its_report_cannot_be_written(model, monkeypatch):
    def full(*_):
        raise OutputError("no space")

    monkeypatch.setattr("onnxprune.pipeline.failing.write_reports", full)
    with pytest.raises(BudgetError):
        onnxprune.compress(model, flops=1e-6, out=_out(model))


def test_batches_and_nodes_are_timed_where_asked(model):
    result = onnxprune.compress(model, flops=0.5, out=_out(model), batches=(2, 4), profile=True)
    assert [record["batch"] for record in result.report["latency_by_batch"]] == [2, 4]
    assert len(result.report["latency"]["before"]["quantiles_us"]) == 19
    times = _report(model).node_times
    assert times is not None
    assert (times.batch, times.runs) == (1, 30)
    both = [node for node in times.nodes if node.before_us is not None and node.after_us is not None]
    assert any("Conv" in node.op for node in both)
    assert all(node.before_us is None or node.before_us >= 0 for node in times.nodes)
    page = model.with_name("slim.report.html").read_text()
    assert "Time by node" in page
    assert "Latency by batch size, medians" in page


def test_batch_that_the_model_does_not_take_is_noted(model):
    proto = onnx.load(model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(proto, model)
    result = onnxprune.compress(model, flops=0.5, out=_out(model), batches=8)
    assert result.report["latency_by_batch"] == []
    assert "Latency at batch 8 was not measured: the model's batch is 3." in result.report["notes"]


def test_validate_writes_a_report_whose_command_repeats_it(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(convnet(seed=1), "other.onnx")
    line = ["validate", "net.onnx", "other.onnx", "--report", "v.json", "--batches", "2", "--threads", "1"]
    assert CliRunner().invoke(cli, line).exit_code == 0
    report = read_report(tmp_path / "v.json")
    assert shlex.split(report.command)[:4] == ["onnxprune", *line[:3]]
    assert set(zip(shlex.split(report.command)[4::2], shlex.split(report.command)[5::2], strict=True)) == {
        ("--report", "v.json"),
        ("--batches", "2"),
        ("--threads", "1"),
    }
    before = json.loads((tmp_path / "v.json").read_text())
    assert CliRunner().invoke(cli, shlex.split(report.command)[1:]).exit_code == 0
    after = json.loads((tmp_path / "v.json").read_text())
    assert {k: before[k] for k in ("command", "options", "before", "after", "parity")} == {
        k: after[k] for k in ("command", "options", "before", "after", "parity")
    }
    assert {p.suffix for p in tmp_path.glob("v.*")} == {".json", ".html", ".md"}


def test_tiles_are_reported_with_their_maps_and_orders(model):
    result = onnxprune.compress(
        model,
        flops=0.5,
        pattern="tiles",
        block="2x4",
        out=_out(model),
        data=labelled(64),
        epochs=0,
        block_sparse="body",
    )
    assert result.plan is not None
    layers = {layer.node: layer for layer in result.plan.tiling.layers}
    tiles = _report(model).tiles
    assert len(tiles) == len(layers) > 0
    for record in tiles:
        kept = [tuple(i for i, letter in enumerate(text) if letter == "#") for text in record.map]
        assert tuple(kept) == layers[record.node].kept
        assert {len(text) for text in record.map} == {record.blocks}
    assert {record.group: record.order for record in _report(model).orders} == dict(result.plan.tiling.orders)
