"""Gates as JUnit XML, which every system for continuous integration shows as tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from onnxprune.core.gate import METRICS
from onnxprune.report.gates import found_text, margin
from onnxprune.report.schema import GateRecord, Report

__all__ = ["junit_text"]


def junit_text(report: Report) -> str:
    """Returns one test suite with a test for each gate: passed, failed by how much, or an error where not measured."""
    failed = [gate for gate in report.gates if not gate.passed and _measured(gate)]
    missing = [gate for gate in report.gates if not gate.passed and not _measured(gate)]
    name = Path(report.output.file).name if report.output is not None and report.output.file else "model"
    suite = ElementTree.Element(
        "testsuite",
        name=f"onnxprune gates of {name}",
        tests=str(len(report.gates)),
        failures=str(len(failed)),
        errors=str(len(missing)),
    )
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="command", value=_plain(report.command))
    for gate in report.gates:
        _add(suite, gate)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _add(suite: ElementTree.Element, gate: GateRecord) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname="onnxprune.gates", name=gate.gate)
    about = METRICS.get(gate.metric, gate.metric)
    if not _measured(gate):
        error = ElementTree.SubElement(case, "error", message=f"{gate.metric} was not measured")
        error.text = about
    elif not gate.passed:
        off = margin(gate)
        message = f"found {found_text(gate)}" + ("" if off is None else f", off by {off:.4g}")
        failure = ElementTree.SubElement(case, "failure", message=message)
        failure.text = about
    else:
        ElementTree.SubElement(case, "system-out").text = f"found {found_text(gate)}: {about}"


def _measured(gate: GateRecord) -> bool:
    return gate.found is not None or bool(gate.where)


def _plain(text: str) -> str:
    """Returns a text without the control characters that XML has no form for."""
    return "".join(character for character in text if character >= " " or character in "\t\n")
