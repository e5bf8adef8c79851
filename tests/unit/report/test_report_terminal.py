"""What people read: tables at 80 columns without colour, and the honest sentences."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from onnxprune.core.budget import Budget
from onnxprune.report import schema
from onnxprune.report.figures import bytes_text, count_text, duration_text, percent_text, ratio_text
from onnxprune.report.records import budget_record
from onnxprune.report.remarks import remarks
from onnxprune.report.schema import Report
from onnxprune.report.terminal import frozen_table, groups_table, render


def text(renderable: RenderableType, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(renderable)
    return stream.getvalue()


def latency(ratio: float, low: float, high: float, *, notes: tuple[str, ...] = ()) -> schema.LatencyReport:
    return schema.LatencyReport(
        provider="CPUExecutionProvider",
        threads=2,
        batch=1,
        before=schema.LatencyRecord(p50_us=1240, p95_us=1390, iqr_us=40, n=50),
        after=schema.LatencyRecord(p50_us=1240 * ratio, p95_us=1390 * ratio, iqr_us=40, n=50),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        notes=notes,
    )


def report(**parts: object) -> Report:
    base = {
        "command": "compress",
        "model": schema.ModelRecord(file="m.onnx"),
        "before": schema.Cost(macs=40.8e6, params=274e3, file_bytes=1_123_456),
        "after": schema.Cost(macs=16.3e6, params=110e3, file_bytes=456_789),
    }
    return Report.model_validate(base | parts)


def rows(shown: str, start: str) -> list[str]:
    return next(line for line in shown.splitlines() if line.strip().startswith(start)).split()


def test_summary_shows_figures_before_and_after() -> None:
    shown = text(
        render(
            report(
                latency=latency(0.5, 0.48, 0.52),
                evaluation=schema.Evaluation(
                    n=7829,
                    labelled=7829,
                    before=schema.Accuracy(top1=0.866),
                    after=schema.Accuracy(top1=0.8511),
                    agreement=0.91,
                ),
                certificate=schema.Certificate(batches=(1, 3), max_rel=1.2e-6, tolerance=1e-4, passed=True),
                budgets=(budget_record(Budget.parse("flops", "0.4"), original=40.8e6, reached=16.24e6),),
            )
        )
    )
    assert rows(shown, "MACs per sample")[3:] == ["40.8", "M", "16.3", "M", "0.40"]
    assert rows(shown, "parameters")[1:] == ["274", "k", "110", "k", "0.40"]
    assert rows(shown, "file size")[2:] == ["1.12", "MB", "457", "kB", "0.41"]
    assert rows(shown, "latency p50")[3:] == ["1.24", "ms", "[1.39", "ms]", "620", "us", "[695", "us]", "0.50"]
    assert rows(shown, "top-1 accuracy")[2:] == ["86.6", "%", "85.1", "%", "-1.5", "points"]
    flat = " ".join(shown.split())
    assert "Budget flops <= 0.4 of the original: reached 16.2 M MACs, 0.398 of the original." in flat
    assert "Latency on CPU, 2 threads, batch 1, n = 50; ratio 0.48 to 0.52 (95 % interval)." in flat
    assert "Certificate passed: masked original = pruned model to 1.2e-06 (tolerance 1e-04, batch 1, 3)." in flat
    assert "Evaluated on 7829 samples; both models agree on 91.0 %." in flat


@pytest.mark.parametrize("width", [40, 80])
def test_lines_fit_the_width_and_have_no_colour_codes(width: int) -> None:
    long = "features." + "/".join(f"block{i}" for i in range(20)) + ".Conv"
    shown = text(
        render(
            report(
                latency=latency(1.2, 1.1, 1.3),
                groups=tuple(schema.GroupRecord(name=f"{long}{i}", size=64, kept=32) for i in range(30)),
                frozen=(schema.FrozenRecord(name=long, size=9, reasons=(f"reaches '{long}'",)),),
                warnings=("w " * 100,),
            )
        ),
        width,
    )
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "\x1b" not in shown


def test_report_with_nothing_measured_can_be_shown() -> None:
    assert text(render(Report(command="inspect", model=schema.ModelRecord()))).strip() == ""


def test_names_with_brackets_are_shown_as_they_are() -> None:
    shown = text(
        render(
            report(
                groups=(schema.GroupRecord(name="[red]conv[/red]", size=4, kept=2),),
                frozen=(schema.FrozenRecord(name="fc[0]", size=4, reasons=("[bold]why",)),),
                warnings=("[/nothing]",),
            )
        )
    )
    assert all(name in shown for name in ("[red]conv[/red]", "fc[0]", "[bold]why", "[/nothing]"))


def test_long_group_lists_are_folded_with_the_heaviest_first() -> None:
    groups = [schema.GroupRecord(name=f"g{i}", size=10, kept=i % 10 + 1, macs_share=i / 100) for i in range(20)]
    folded, whole = text(groups_table(groups)), text(groups_table(groups, verbose=True))
    assert rows(folded, "g19")[1:4] == ["10", "10", "1.00"]
    assert "g8 " in folded
    assert "g7 " not in folded
    # groups g0 to g7 keep 1 + … + 8 channels of 80
    assert rows(folded, "… and 8 more")[4:6] == ["36", "80"]
    assert "more" not in whole
    assert all(f"g{i} " in whole for i in range(20))


def test_frozen_channels_are_grouped_by_reason() -> None:
    frozen = [schema.FrozenRecord(name=f"n{i}", size=3, reasons=("unknown op",)) for i in range(5)]
    frozen.append(schema.FrozenRecord(name="fc", size=100, reasons=("reaches output 'y'",)))
    folded, whole = text(frozen_table(frozen)), text(frozen_table(frozen, verbose=True))
    assert rows(folded, "unknown op")[-1] == "15"
    assert "unknown op: n0, n1, n2 … and 2 more" in folded
    assert "unknown op: n0, n1, n2, n3, n4" in whole
    assert folded.index("reaches output 'y': fc") < folded.index("unknown op")


def test_many_reasons_are_folded() -> None:
    frozen = [schema.FrozenRecord(name=f"n{i}", size=i, reasons=(f"reason {i}",)) for i in range(1, 16)]
    folded = text(frozen_table(frozen))
    assert rows(folded, "… and 3 more reasons")[-1] == "6"
    assert "reason 1:" in text(frozen_table(frozen, verbose=True))


def test_fewer_macs_but_slower_is_said_first() -> None:
    found = remarks(report(latency=latency(1.03, 1.01, 1.05), no_training="Nothing was retrained."))
    assert found[0].startswith("Fewer MACs (40.0 % of the original) but not faster: the latency is 1.03 times")
    assert "CPU, 2 threads, batch 1, n = 50" in found[0]
    assert found[1] == "Nothing was retrained."


def test_speed_up_within_the_noise_is_said() -> None:
    (found,) = remarks(report(latency=latency(0.97, 0.9, 1.04)))
    assert found.startswith("The speed-up lies within the noise: the latency is between 0.90 and 1.04 times")


def test_clear_speed_up_needs_no_remark() -> None:
    assert remarks(report(latency=latency(0.5, 0.48, 0.52))) == ()


def test_slower_without_fewer_macs_claims_no_fewer_macs() -> None:
    (found,) = remarks(report(after=schema.Cost(macs=40.8e6), latency=latency(1.1, 1.0, 1.2)))
    assert found.startswith("Not faster: the latency is 1.10 times")


def test_noise_of_the_measurement_reaches_the_reader() -> None:
    noise = "Noise: the spread (IQR over median) of slim is 41%"
    assert remarks(report(latency=latency(0.5, 0.4, 0.6, notes=(noise,)))) == (noise,)
    assert noise in text(render(report(latency=latency(0.5, 0.4, 0.6, notes=(noise,)))))


def test_failed_certificate_and_missed_budget_come_first() -> None:
    found = remarks(
        report(
            certificate=schema.Certificate(batches=(1,), max_rel=0.25, tolerance=1e-4, passed=False),
            budgets=(schema.BudgetRecord(resource="flops", asked="flops <= 0.4 of the original", met=False),),
            warnings=("w",),
        )
    )
    assert found == (
        "The certificate failed: the masked original and the pruned model differ by 2.5e-01 (relative).",
        "The budget was not met: flops <= 0.4 of the original.",
        "w",
    )


def test_missing_labels_are_said() -> None:
    (none,) = remarks(report(evaluation=schema.Evaluation(n=5)))
    assert "no labels: agreement with the original is reported" in none
    (some,) = remarks(report(evaluation=schema.Evaluation(n=5, labelled=3)))
    assert some.startswith("Only 3 of 5 evaluation samples")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1 k"),
        (1234, "1.23 k"),
        (999_600, "1 M"),
        (40.8e6, "40.8 M"),
    ],
)
def test_count_text(value: float | None, expected: str) -> None:
    assert count_text(value) == expected


def test_other_figures() -> None:
    assert bytes_text(1_123_456) == "1.12 MB"
    assert bytes_text(12) == "12 B"
    assert duration_text(0.5) == "0.5 us"
    assert duration_text(2_500_000) == "2.5 s"
    assert percent_text(0.8661) == "86.6 %"
    assert ratio_text(1, 3) == "0.33"
    assert ratio_text(1, 0) == ratio_text(None, 1) == "–"


def test_tiles_are_listed_in_order_and_whole_channels_are_not() -> None:
    tiles = tuple(
        schema.TileRecord(
            node=f"conv_{i}",
            weight="w",
            operator="Conv",
            inputs=64,
            outputs=64,
            block=1,
            tile=8,
            blocks=64,
            kept=16 + i,
            form="dense" if i else "kernel",
            ratio=None if i else 0.41,
            ratio_low=None if i else 0.4,
            ratio_high=None if i else 0.43,
        )
        for i in range(30)
    )
    groups = (schema.GroupRecord(name="g0", size=64, kept=64),)
    shown = text(render(report(groups=groups, tiles=tiles)), 120)
    assert "Channels kept" not in shown
    first, second = (next(line for line in shown.splitlines() if f"conv_{i} " in line) for i in (0, 1))
    assert first.split() == ["conv_0", "16", "64", "0.25", "1", "×", "8", "kernel", "×0.41", "(0.40–0.43)"]
    assert second.split()[-2:] == ["dense", "–"]
    assert "more" in shown
    assert "Channels kept" in text(render(report(groups=groups)), 120)


def test_a_budget_that_dense_layers_miss_says_so() -> None:
    budget = schema.BudgetRecord(resource="flops", asked="flops <= 0.5 of the original", met=False)
    kinds = ("kernel", "densify", "dense")
    tiles = tuple(
        schema.TileRecord(
            node=kind, weight="w", operator="Conv", inputs=8, outputs=8, block=1, tile=8, blocks=8, kept=4, form=kind
        )
        for kind in kinds
    )
    shown = " ".join(text(render(report(budgets=(budget,), tiles=tiles)), 120).split())
    assert "not met: flops <= 0.5 of the original. 2 of 3 tiled layers are computed dense, which takes all" in shown
    shown = " ".join(text(render(report(budgets=(budget,), tiles=tiles[:1])), 120).split())
    assert "not met: flops <= 0.5 of the original." in shown
    assert "computed dense" not in shown
