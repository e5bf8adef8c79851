"""report.html: what is on it, in which words, and that names cannot change it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from report_samples import NASTY, failed_report, latency, rich_report

from onnxprune.report import schema
from onnxprune.report.page.channels_section import by_module
from onnxprune.report.page.run_page import report_html
from onnxprune.report.schema import Report

EMPTY = {"br", "col", "hr", "input", "link", "meta"}


class Reader(HTMLParser):
    """Reads a page, checks that elements close in order, and keeps text and elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\N{NO-BREAK SPACE}", " ").split())

    @property
    def sections(self) -> list[str]:
        return [attributes["id"] or "" for tag, attributes in self.elements if tag == "section"]


def read(report: Report) -> Reader:
    return Reader(report_html(report))


def test_page_has_a_section_for_every_part() -> None:
    page = read(rich_report())
    assert page.sections == [
        "figures",
        "latency",
        "channels",
        "tiles",
        "search",
        "training",
        "nodes",
        "frozen",
        "run",
    ]
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert links == {f"#{name}" for name in page.sections}


def test_page_shows_the_figures() -> None:
    words = read(rich_report()).words
    for said in (
        "39.7 % of the MACs and 46.7 % of the parameters are left.",
        "It is 1.67 times as fast (ratio 0.60, 95 % interval 0.59 to 0.61).",
        "Top-1 accuracy on 500 samples: 86.6 % before, 85.4 % after, −1.2 points, which chance alone could make with "
        "so many samples (±2.0).",
        "40.8 M → 16.2 M per sample",
        "flops ≤ 0.4 of the original 16.3 M MACs 16.2 M MACs 99.4 % ✓ met",
        "speedup ≥ 1.5 1.67 ✓ passed",
        "Keep ratios were learned over 780 steps in 3 min 20 s.",
        "6 epochs, 32,020 samples, 64 a step, float32, CPU, 6 min 0 s.",
        "Dense, since it is not faster packed: /fc.",
        "3 of 4 moved.",
        "Operators without a rule, whose channels stay: custom::Mystery (2).",
        "Seed 3",
    ):
        assert said in words


def test_names_cannot_become_markup() -> None:
    page = report_html(rich_report())
    assert NASTY not in page
    assert page.count("<script>") == 1
    assert "<b>" not in page
    assert NASTY in read(rich_report()).words


def test_page_asks_for_nothing_from_outside() -> None:
    page = report_html(rich_report())
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)""", page) == []
    assert "url(" not in page
    assert "@import" not in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_every_drawing_says_what_it_shows() -> None:
    drawings = [attributes for tag, attributes in read(rich_report()).elements if tag == "svg"]
    assert len(drawings) > 20
    assert all(
        (attributes.get("role") == "img" and attributes.get("aria-label")) or attributes.get("aria-hidden") == "true"
        for attributes in drawings
    )


def test_report_with_nothing_measured_says_so() -> None:
    page = read(Report(command="onnxprune validate a.onnx b.onnx", model=schema.ModelRecord()))
    assert page.sections == ["figures", "run"]
    assert "Not measured: accuracy: no evaluation data was given (--data)." in page.words
    assert "Not measured: latency: this command does not time models." in page.words
    assert "None" not in page.words


def test_failed_run_shows_why_and_what_was_reached() -> None:
    page = read(failed_report())
    assert "net.onnx → no model" in page.words
    assert "The run failed during allocate_budget. No model was written." in page.words
    assert f"out of reach <b> {NASTY}" in page.words
    assert "BudgetError, exit code 5." in page.words
    assert "Passes that were done: find_groups." in page.words
    assert (
        "Not measured: MACs per sample, parameters, file size, latency, accuracy: the run ended before." in page.words
    )


@pytest.mark.parametrize(
    ("timed", "said"),
    [
        (
            latency(0.99, ratio_low=0.9, ratio_high=1.1),
            "No difference in latency was shown: the ratio lies between 0.90 and 1.10.",
        ),
        (
            latency(0.5, ratio_low=0.1, ratio_high=0.8),
            "It is 1.2 to 10 times as fast (ratio 0.50, 95 % interval 0.10 to 0.80).",
        ),
        (latency(1.5), "It is 1.50 times as slow"),
        (latency(0.5, noisy=True), "Other load disturbed the measurement."),
    ],
)
def test_latency_that_says_little_is_told_so(timed: schema.LatencyReport, said: str) -> None:
    assert said in read(rich_report(latency=timed)).words


def test_latency_without_quantiles_is_drawn_from_what_there_is() -> None:
    record = schema.LatencyRecord(p50_us=1000, p95_us=90_000, n=9)
    timed = latency().model_copy(update={"before": record, "after": record})
    page = read(rich_report(latency=timed, latency_by_batch=()))
    assert "Line: to 95 %." in page.words
    assert "95 %: 90 ms" in page.words
    assert "Other batch sizes: not measured (--batches)." in page.words


def test_gate_that_is_not_met_is_in_the_headline() -> None:
    gate = schema.GateRecord(gate="top1_drop<=0.5", metric="top1_drop", bound=0.5, found=None, passed=False)
    words = read(rich_report(gates=(gate,))).words
    assert "onnxprune compress gates not met" in words
    assert "top1_drop ≤ 0.5 not measured ✗ not met" in words


def test_a_budget_that_is_not_met_is_in_the_headline() -> None:
    missed = schema.BudgetRecord(resource="flops", asked="flops <= 0.5", limit=5.0, reached=6.0, met=False)
    assert "onnxprune compress budget not met" in read(rich_report(budgets=(missed,))).words
    assert "onnxprune compress done" in read(rich_report(budgets=(missed.model_copy(update={"met": True}),))).words


def test_many_groups_are_folded_by_module_and_stay_small() -> None:
    page = report_html(rich_report(groups=2000))
    assert len(page.encode()) < 3_000_000
    names = {attributes.get("class") for tag, attributes in Reader(page).elements if tag == "details"}
    assert "long" in names
    assert "Each row is the mean of 42 groups that follow one another." in Reader(page).words


def test_modules_hold_every_group_once_in_order() -> None:
    groups = rich_report(groups=300).groups
    modules = by_module(groups)
    assert 2 <= len(modules) <= 60
    assert sorted(g.name for _, found in modules for g in found) == sorted(g.name for g in groups)
    flat = [schema.GroupRecord(name=f"conv_{i}", size=4, kept=2) for i in range(120)]
    assert [(name, len(found)) for name, found in by_module(flat)] == [
        ("groups 1–50", 50),
        ("groups 51–100", 50),
        ("groups 101–120", 20),
    ]


def test_same_report_gives_the_same_page() -> None:
    assert report_html(rich_report()) == report_html(rich_report())
