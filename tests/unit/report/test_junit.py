"""Gates as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree

from click.testing import CliRunner

from onnxprune.cli.main import cli
from onnxprune.report.junit import junit_text
from onnxprune.report.schema import GateRecord, ModelRecord, Report

GATES = (
    GateRecord(gate="speedup>=1.5", metric="speedup", bound=1.5, found=1.75, passed=True),
    GateRecord(gate="top1_drop<=0.5", metric="top1_drop", bound=0.5, found=0.75, passed=False),
    GateRecord(gate="top5<=99", metric="top5", bound=99, found=None, passed=False),
)
REPORT = Report(
    command="onnxprune compress 'a & <b>.onnx' \x07",
    model=ModelRecord(),
    output=ModelRecord(file="x/s.onnx"),
    gates=GATES,
)


def test_every_gate_is_a_test():
    suite = ElementTree.fromstring(junit_text(REPORT))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert suite.get("name") == "onnxprune gates of s.onnx"
    passed, failed, missing = suite.iter("testcase")
    assert [case.get("name") for case in (passed, failed, missing)] == [gate.gate for gate in GATES]
    assert passed.find("failure") is None
    assert passed.find("error") is None
    assert failed.find("failure").get("message") == "found 0.75, off by 0.25"
    assert missing.find("error").get("message") == "top5 was not measured"


def test_a_run_without_gates_has_an_empty_suite():
    suite = ElementTree.fromstring(junit_text(REPORT.model_copy(update={"gates": (), "output": None})))
    assert suite.get("tests") == "0"
    assert not list(suite.iter("testcase"))


def test_the_report_command_writes_it(tmp_path):
    source = tmp_path / "s.report.json"
    source.write_text(REPORT.to_json(), encoding="utf-8")
    written = CliRunner().invoke(cli, ["report", str(source), "-o", str(tmp_path / "gates.xml")])
    assert written.exit_code == 0, written.output
    assert (tmp_path / "gates.xml").read_text(encoding="utf-8") == junit_text(REPORT)
    several = CliRunner().invoke(cli, ["report", str(source), str(source), "-o", str(tmp_path / "both.xml")])
    assert several.exit_code == 2
    assert "gates of one run" in several.output
    assert not (tmp_path / "both.xml").exists()
