"""Runs side by side: fronts, what is not comparable, table, page and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report_samples import NASTY, failed_report, latency, rich_report

from onnxprune.report import schema
from onnxprune.report.comparison import Run, compare_runs, pareto_front
from onnxprune.report.comparison_markdown import comparison_markdown
from onnxprune.report.markdown import fenced, plain_text, report_markdown
from onnxprune.report.page.comparison_page import comparison_html


def run(macs: float, top1: float, ratio: float, **parts: Any) -> Run:
    evaluation = schema.Evaluation(
        n=parts.pop("n", 500),
        labelled=500,
        before=schema.Accuracy(top1=0.9),
        after=schema.Accuracy(top1=top1),
        agreement=0.98,
    )
    after = schema.Cost(macs=macs * 40.8e6, params=1, file_bytes=1)
    timed = parts.pop("latency", latency(ratio))
    report = rich_report(after=after, evaluation=evaluation, latency=timed, **parts)
    return Run.from_report(report, Path("r.json"))


def test_front_holds_what_nothing_beats() -> None:
    assert pareto_front([1, 2, 3, 2, None], [0.5, 0.7, 0.6, 0.7, 0.9]) == {0, 1, 3}
    assert pareto_front([], []) == frozenset()
    assert pareto_front([1.0], [None]) == frozenset()


def test_fronts_of_macs_and_latency_differ() -> None:
    compared = compare_runs([run(0.3, 0.85, 0.5), run(0.4, 0.84, 0.4), run(0.5, 0.88, 0.6)])
    assert compared.quality_name == "top-1 accuracy"
    assert compared.letters == ("A", "B", "C")
    assert (compared.by_macs, compared.by_latency) == ({0, 2}, {0, 1, 2})


def test_what_does_not_belong_together_is_said() -> None:
    other = schema.ModelRecord(file="other.onnx", sha256="ef")
    slow = latency(0.5, noisy=True).model_copy(update={"threads": 4})
    notes = " ".join(compare_runs([run(0.3, 0.85, 0.5), run(0.4, 0.8, 0.505, model=other, latency=slow, n=90)]).notes)
    assert "different models" in notes
    assert "different conditions (CPU, 2 threads, batch 1; CPU, 4 threads, batch 1)" in notes
    assert "different data (90, 500 samples)" in notes
    assert "Other load disturbed the latency of B." in notes
    assert "Latency does not tell apart A and B" in notes


def test_runs_alike_need_no_note_but_that_on_chance() -> None:
    (note,) = compare_runs([run(0.3, 0.85, 0.5), run(0.4, 0.86, 0.7)]).notes
    assert note.startswith("Of the accuracies, differences to the original below 1.2 points can be chance")


def test_agreement_is_compared_where_scores_are_not_the_same() -> None:
    unlabelled = schema.Evaluation(n=500, agreement=0.9)
    one = Run.from_report(rich_report(evaluation=unlabelled), Path("a.json"))
    compared = compare_runs([one, run(0.3, 0.85, 0.5)])
    assert compared.quality_name == "agreement with the original"
    assert compared.qualities == (0.9, 0.98)


def test_page_and_text_show_every_run_and_escape_names() -> None:
    slim = schema.ModelRecord(file=NASTY)
    failed = Run.from_report(failed_report(), Path("failed.json"))
    compared = compare_runs([run(0.3, 0.85, 0.5, output=slim), run(0.4, 0.86, 0.7), failed])
    page, text = comparison_html(compared), comparison_markdown(compared)
    assert NASTY not in page
    assert page.count("<script>") == 1
    assert "Top-1 accuracy against MACs" in page
    assert "Top-1 accuracy against latency" in page
    assert text.count("\n| **") == 3
    assert "<script>" not in text
    assert "| failed |" in text


def test_runs_without_quality_have_no_front() -> None:
    compared = compare_runs([Run.from_report(rich_report(evaluation=None), Path("a.json"))])
    assert compared.by_macs == frozenset()
    assert "No front is drawn" in comparison_html(compared)


def test_more_runs_than_letters_have_names_of_their_own() -> None:
    letters = compare_runs([run(0.3, 0.85, 0.5)] * 30).letters
    assert len(set(letters)) == 30
    assert letters[25:28] == ("Z", "A2", "B2")


def test_text_for_a_pull_request_shows_figures_and_escapes() -> None:
    text = report_markdown(rich_report())
    assert text.startswith("## net.onnx → net.slim.onnx: done\n")
    assert "| MACs per sample | 40.8\N{NO-BREAK SPACE}M | 16.2\N{NO-BREAK SPACE}M | ×0.40 |" in text
    assert "| flops ≤ 0.4 of the original | 99.4\N{NO-BREAK SPACE}% | met |" in text
    assert f"- ⚠ {plain_text(NASTY)} is odd" in text
    assert "<script>" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines} <= {4, 5}


def test_text_of_a_failed_run_says_why() -> None:
    text = report_markdown(failed_report())
    assert text.startswith("## net.onnx → no model: failed\n")
    assert "BudgetError, exit code 5:" in text
    assert "not measured: the run ended before" in text


def test_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a ```` b").startswith("`````\n")


def test_plain_text_stays_on_one_line() -> None:
    assert plain_text("a\n| b `c` <d>") == "a \\| b \\`c\\` &lt;d&gt;"
