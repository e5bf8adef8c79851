"""A gain against the best dense form of the original: measured by `validate`, shown by every form of a report."""

from __future__ import annotations

import io

import onnx
import pytest
from graphs import model_of
from report_samples import latency, rich_report
from rich.console import Console

import onnxprune
from onnxprune.report import schema
from onnxprune.report.facts import before_and_after
from onnxprune.report.markdown import report_markdown
from onnxprune.report.page.run_page import report_html
from onnxprune.report.records import latency_report
from onnxprune.report.terminal import render
from onnxprune.runtime.latency import Latency, LatencyComparison
from onnxprune.runtime.ratios import Ratio

NET = """g (float[N, 3, 8, 8] x, float[16, 3, 3, 3] w, float[16] b, float[16, 5] v) => (float[N, 5] y) {
    c = Conv<pads = [1, 1, 1, 1]>(x, w, b)
    r = Relu(c)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = MatMul(f, v)
}"""


@pytest.mark.usefixtures("quick_latency")
def test_validate_times_the_original_in_float16_where_that_is_asked_for(tmp_path):
    for name, seed in (("net", 0), ("slim", 1)):
        onnx.save(model_of(NET, seed=seed), tmp_path / f"{name}.onnx")
    paths = tmp_path / "net.onnx", tmp_path / "slim.onnx"
    found = onnxprune.validate(*paths, provider="cpu", threads=1, dense_forms="all").latency
    assert list(found.dense.forms) == ["float16"]
    assert found.dense.best in ("original", "float16")
    assert found.dense.ratio_low <= found.dense.ratio <= found.dense.ratio_high
    assert onnxprune.validate(*paths, provider="cpu", threads=1).latency.dense is None


def comparison(ratio: float) -> LatencyComparison:
    """An original of 100 us, its float16 form `ratio` times that, and a slim model of 40 us."""
    times = {"original": 100.0, "slim": 40.0, "float16": 100.0 * ratio}
    against = {
        first: {name: Ratio(t / times[first], 0.99 * t / times[first], 1.01 * t / times[first], 0.0)
                for name, t in times.items() if name != first}
        for first in times
    }  # fmt: skip
    latencies = {name: Latency(t, t, t, 1.0, t, 50, 1) for name, t in times.items()}
    return LatencyComparison(latencies, against["original"], "CUDAExecutionProvider", 1, 1, stands=8, against=against)


def test_the_ratio_is_to_float16_where_that_is_faster():
    found = latency_report(comparison(0.5), "original", "slim")
    assert found.ratio == pytest.approx(0.4)
    assert (found.dense.best, found.dense.ratio) == ("float16", pytest.approx(0.8))
    assert found.stands == 8


def test_the_ratio_is_to_the_original_where_float16_is_slower():
    found = latency_report(comparison(1.5), "original", "slim").dense
    assert (found.best, found.ratio) == ("original", pytest.approx(0.4))


def dense_report() -> schema.Report:
    forms = {"float16": schema.LatencyRecord(p50_us=738.0, n=50)}
    dense = schema.DenseRecord(best="float16", ratio=0.8125, ratio_low=0.79, ratio_high=0.83, forms=forms)
    return rich_report(latency=latency(stands=8, dense=dense))


def test_every_form_of_a_report_shows_it():
    report = dense_report()
    assert any(row.name == "latency, best dense form (float16)" for row in before_and_after(report))
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(report))
    shown = console.export_text()
    assert "p50, best dense form (float16)" in shown
    assert "Against the original's best dense form (float16): ratio 0.81 (0.79 to 0.83, 95 % interval)." in shown
    assert "n = 50 in 8 sessions" in shown
    assert "latency, best dense form" in report_markdown(report)
    page = report_html(report)
    assert "latency, best dense form (float16)" in page
    assert "n = 50 samples in 8 sessions, the two models turn by turn" in page


def test_reports_without_it_show_nothing_of_it():
    report = rich_report()
    assert not any("dense form" in row.name for row in before_and_after(report))
    assert "dense form" not in report_markdown(report)
