"""report.json: round trip, schema, and what it refuses."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pydantic
import pytest

from onnxprune.core.errors import InputError, OutputError
from onnxprune.report import schema
from onnxprune.report.schema import Report, read_report, schema_text, write_report


def full_report() -> Report:
    """A report in which every part is present."""
    latency = schema.LatencyRecord(p50_us=100.0, p90_us=110, p95_us=120, iqr_us=5, mean_us=101, n=50)
    tensor = schema.TensorRecord(name="x", dtype="float32", shape=("batch", 3, None))
    return Report(
        command="compress",
        options={"b": 1, "a": [None, 0.5], "criterion": "magnitude"},
        seed=3,
        model=schema.ModelRecord(file="m.onnx", sha256="ab", opset=20, inputs=(tensor,), outputs=(tensor,)),
        output=schema.ModelRecord(file="slim.onnx"),
        budgets=(
            schema.BudgetRecord(resource="flops", asked="flops <= 0.4 of the original", reached=39, original=100),
        ),
        before=schema.Cost(macs=100, params=10, file_bytes=1000),
        after=schema.Cost(macs=39, params=4, file_bytes=400),
        latency=schema.LatencyReport(
            provider="CPUExecutionProvider", threads=2, batch=1, before=latency, after=latency, ratio=0.6
        ),
        evaluation=schema.Evaluation(n=10, labelled=10, before=schema.Accuracy(top1=0.9), agreement=0.8),
        groups=(schema.GroupRecord(name="conv1", size=16, kept=8, alignment=8, macs_share=0.25),),
        frozen=(schema.FrozenRecord(name="fc", size=10, members=("fc.w[0]",), reasons=("reaches the output",)),),
        unknown_ops={"Mystery": 2},
        certificate=schema.Certificate(batches=(1, 3), max_rel=1e-6, tolerance=1e-4, passed=True),
        parity=schema.Parity(batches=(1,), outputs=(schema.OutputRecord(name="y", max_abs=1, max_rel=0.1),)),
        gates=(schema.GateRecord(gate="speedup>=2", metric="speedup", bound=2, found=1.67, passed=False),),
        training=schema.Training(epochs=(schema.Epoch(epoch=1, loss=2.5, lr=0.1),), metric_name="top-1", seconds=9),
        notes=("a note",),
        warnings=("a warning",),
        passes=(schema.PassRecord(name="certify", seconds=0.5, nodes_before=7, nodes_after=7),),
        environment={"versions": {"python": "3.11", "onnx": None}},
    )


@pytest.mark.parametrize("report", [full_report(), Report(command="validate", model=schema.ModelRecord())])
def test_round_trip(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


def test_content_names_its_version() -> None:
    assert json.loads(full_report().to_json())["schema_version"] == 1


def test_same_report_is_the_same_text_with_sorted_tables() -> None:
    text = full_report().to_json()
    assert text == full_report().to_json()
    assert list(json.loads(text)["options"]) == ["a", "b", "criterion"]
    assert list(json.loads(text)["environment"]["versions"]) == ["onnx", "python"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_figures_that_are_not_finite_become_null(value: float, tmp_path: Path) -> None:
    report = full_report().model_copy(
        update={
            "parity": schema.Parity(outputs=(schema.OutputRecord(name="y", max_abs=value, max_rel=value),)),
            "options": {"x": value},
        }
    )
    content = json.loads(report.to_json())
    assert content["parity"]["outputs"][0]["max_abs"] is None
    assert content["options"]["x"] is None
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json").to_json() == report.to_json()


def test_schema_file_is_up_to_date() -> None:
    stored = Path(schema.__file__).with_name("schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), "write schema_text() to onnxprune/report/schema.json"


def test_schema_lists_every_part_and_refuses_others() -> None:
    content = json.loads(schema_text())
    assert set(content["properties"]) == set(Report.model_fields)
    assert set(content["required"]) == {"command", "model"}
    assert content["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in content["$defs"].values() if "properties" in part)


def test_reports_are_frozen_and_closed() -> None:
    report = full_report()
    with pytest.raises(pydantic.ValidationError):
        report.command = "other"  # type: ignore[misc] # that is what is tested
    with pytest.raises(pydantic.ValidationError, match="surprise"):
        Report(command="compress", model=schema.ModelRecord(), surprise=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "not a report.json of schema version 1"),
        ("{}", "command: Field required"),
        ('{"command": "c", "model": {}, "schema_version": 2}', "schema_version: Input should be 1"),
        ('{"command": "c", "model": {}, "more": 2}', "more: Extra inputs"),
    ],
)
def test_what_is_no_report_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_report(path)


def test_missing_report_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path / "none.json")


def test_report_into_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/report\.json could not be written.*does not exist"):
        write_report(full_report(), tmp_path / "none" / "report.json")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_report(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(full_report(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text(encoding="utf-8") == "old"
