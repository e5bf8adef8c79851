"""Figures of a run become records without losing any."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.budget import Budget
from onnxprune.core.group import FrozenAxis, Group, Member
from onnxprune.report.records import (
    budget_record,
    evaluation_record,
    frozen_records,
    group_records,
    latency_report,
    output_records,
)
from onnxprune.runtime.compare import compare
from onnxprune.runtime.evaluate import EvalResult
from onnxprune.runtime.latency import Latency, LatencyComparison
from onnxprune.runtime.ratios import Ratio

MEMBER = Member("conv.weight", 0, "producer", "Conv", "conv", 1)


def test_latency_report_keeps_both_sides_apart() -> None:
    before, after = Latency(100, 110, 120, 4, 101, 50, 2), Latency(60, 66, 72, 20, 61, 50, 3)
    comparison = LatencyComparison(
        {"original": before, "slim": after},
        {"slim": Ratio(0.6, 0.58, 0.63, 0.02)},
        "CPUExecutionProvider",
        2,
        8,
        ("n",),
    )
    found = latency_report(comparison, "original", "slim")
    assert (found.before.p50_us, found.after.p50_us, found.after.p95_us) == (100, 60, 72)
    assert (found.ratio, found.ratio_low, found.ratio_high, found.ratio_iqr) == (0.6, 0.58, 0.63, 0.02)
    assert (found.provider, found.threads, found.batch, found.notes) == ("CPUExecutionProvider", 2, 8, ("n",))
    assert found.noisy  # 20 / 60 is above 30 %


def test_evaluation_record_has_the_agreement_of_the_slim_model() -> None:
    found = evaluation_record(EvalResult(100, 90, 0.9, 0.99, 1.0), EvalResult(100, 90, 0.8, 0.95, 0.85))
    assert (found.n, found.labelled, found.agreement) == (100, 90, 0.85)
    assert (found.before.top1, found.after.top1, found.after.top5) == (0.9, 0.8, 0.95)


def test_group_records_count_absent_groups_as_whole() -> None:
    groups = [Group("a", 16, (MEMBER,)), Group("b", 8, (MEMBER,))]
    found = group_records(groups, {"a": 6}, alignment={"a": 2}, macs_share={"a": 0.5})
    assert [(g.name, g.size, g.kept, g.alignment, g.macs_share) for g in found] == [
        ("a", 16, 6, 2, 0.5),
        ("b", 8, 8, None, None),
    ]


def test_frozen_records_name_the_axes() -> None:
    (found,) = frozen_records([FrozenAxis("fc", 10, (MEMBER,), ("reaches output 'y'",))])
    assert (found.members, found.reasons) == (("conv.weight[0]",), ("reaches output 'y'",))


@pytest.mark.parametrize(("reached", "met"), [(40.0, True), (40.5, False)])
def test_budget_record_says_whether_it_holds(reached: float, met: bool) -> None:
    found = budget_record(Budget.parse("flops", "0.4"), original=100.0, reached=reached)
    assert (found.limit, found.original, found.reached, found.met) == (40.0, 100.0, reached, met)
    assert (found.resource, found.unit) == ("flops", "MACs")


def test_output_records_keep_the_figures() -> None:
    (found,) = output_records(compare({"y": np.array([3.0, 4.0])}, {"y": np.array([3.0, 4.5])}))
    assert (found.name, found.max_abs, found.identical) == ("y", 0.5, False)
    assert found.max_rel == pytest.approx(0.125)
