"""`onnxprune report`: one report again, several side by side, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_samples import latency, rich_report

from onnxprune.cli.main import cli
from onnxprune.report.markdown import report_markdown
from onnxprune.report.outputs import write_curves, write_reports
from onnxprune.report.page.run_page import report_html
from onnxprune.report.schema import Curve, CurvePoint


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


@pytest.fixture
def reports(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of one model."""
    paths = tmp_path / "a.report.json", tmp_path / "b.report.json"
    for path, ratio in zip(paths, (0.5, 0.7), strict=True):
        write_reports(rich_report(latency=latency(ratio)), path)
    return paths


def test_page_and_text_stand_beside_the_json(reports: tuple[Path, Path], tmp_path: Path) -> None:
    assert {p.name for p in tmp_path.iterdir()} == {f"{x}.report.{y}" for x in "ab" for y in ("json", "html", "md")}


def test_one_report_gives_the_same_page_and_text_again(reports: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(reports[0], "-o", tmp_path / "x.html", "-o", tmp_path / "x.md")
    assert (done.exit_code, done.output) == (0, "")
    for suffix, make in ((".html", report_html), (".md", report_markdown)):
        again = (tmp_path / f"x{suffix}").read_bytes()
        assert again == reports[0].with_suffix(suffix).read_bytes()
        assert again.decode() == make(rich_report(latency=latency(0.5)))


def test_one_report_without_a_place_is_shown_as_tables_or_json(reports: tuple[Path, Path]) -> None:
    assert "MACs per sample" in run(reports[0]).stdout
    assert json.loads(run(reports[0], "--json").stdout) == json.loads(reports[0].read_text())


def test_several_reports_are_compared(reports: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(*reports)
    assert done.exit_code == 0
    assert "×0.50 (0.49–0.51)" in done.stdout
    assert "×0.70 (0.69–0.71)" in done.stdout
    assert "! Of the accuracies, differences to the original below 2.0 points can be chance" in done.stdout
    assert run(*reports, "-o", tmp_path / "c.html").exit_code == 0
    assert "2 runs compared" in (tmp_path / "c.html").read_text()
    assert len(json.loads(run(*reports, "--json").stdout)["points"]) == 2


def test_curve_is_a_comparison_of_its_points(tmp_path: Path) -> None:
    report = rich_report()
    points = tuple(
        CurvePoint(file=f"{x}.onnx", before=report.before, after=report.after, evaluation=report.evaluation)
        for x in "ab"
    )
    write_curves(Curve(points=points), tmp_path / "curve.json")
    assert run(tmp_path / "curve.json", "-o", tmp_path / "again.html").exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "curve.html").read_bytes()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("no json", "not a report.json of schema version 1"),
        ('{"points": 3}', "not a curve.json of schema version 1: points"),
        ('{"points": []}', "the curve has no points"),
    ],
)
def test_what_is_no_report_is_one_paragraph(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    done = run(path)
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.output


def test_place_that_cannot_be_written_is_named(reports: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(reports[0], "-o", tmp_path / "none" / "x.html")
    assert done.exit_code == 1
    assert "does not exist" in " ".join(done.stderr.split())
