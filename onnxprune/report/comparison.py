"""Several runs side by side, and which of them no other beats.

A run is on the front of a cost when no other costs as little and is as good, and is better in one of the two
(Pareto). Figures that do not belong together are named, not hidden: other originals, machines or data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase

from onnxprune.report.facts import accuracy_of, bounds_words, chance_points, status_words
from onnxprune.report.schema import Cost, CurvePoint, Evaluation, LatencyReport, Report

__all__ = ["Compared", "Run", "budget_words", "compare_runs", "pareto_front"]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: The file that came of it, or its report.
        point: Its figures.
        status: How it ended.
        original: SHA-256 of the original, "" where that is unknown.
        machine: Processor and version of onnxruntime, "" where they are unknown.
    """

    name: str
    point: CurvePoint
    status: str = "done"
    original: str = ""
    machine: str = ""

    @classmethod
    def from_report(cls, report: Report, path: Path) -> Run:
        """Returns the run that a report tells of; `path` is where the report was read."""
        point = CurvePoint(
            file=report.output.file if report.output is not None else "",
            budgets=report.budgets,
            before=report.before,
            after=report.after,
            latency=report.latency,
            evaluation=report.evaluation,
            gates=report.gates,
        )
        versions = report.environment.get("versions")
        onnxruntime = versions.get("onnxruntime") if isinstance(versions, dict) else None
        parts = [str(report.environment.get("cpu") or ""), f"onnxruntime {onnxruntime}" if onnxruntime else ""]
        machine = ", ".join(part for part in parts if part)
        return cls(point.file or str(path), point, status_words(report), report.model.sha256, machine)

    @classmethod
    def from_point(cls, point: CurvePoint) -> Run:
        """Returns the run that a point of a curve tells of."""
        return cls(point.file or "model in memory", point, bounds_words(point))

    @property
    def macs(self) -> float | None:
        """Share of the original's MACs."""
        return _share(self.point.after, self.point.before, lambda cost: cost.macs)

    @property
    def params(self) -> float | None:
        """Share of the original's parameters."""
        return _share(self.point.after, self.point.before, lambda cost: cost.params)

    @property
    def size(self) -> float | None:
        """Share of the original's bytes."""
        return _share(self.point.after, self.point.before, lambda cost: cost.file_bytes)

    @property
    def ratio(self) -> float | None:
        """Time over the original's time."""
        return self.point.latency.ratio if self.point.latency is not None else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `ratio`."""
        latency = self.point.latency
        if latency is None or latency.ratio_low is None or latency.ratio_high is None:
            return None
        return latency.ratio_low, latency.ratio_high


def _share(after: Cost | None, before: Cost | None, of: Callable[[Cost], float | None]) -> float | None:
    new, old = (of(cost) if cost is not None else None for cost in (after, before))
    share = new / old if old and new is not None else None
    return share if share is not None and math.isfinite(share * 100) else None


def budget_words(run: Run) -> str:
    """Returns what the run was asked to meet; shares are of the original."""
    asked = (record.asked.removesuffix(" of the original") for record in run.point.budgets)
    return ", ".join(asked).replace("<=", "≤") or "–"


@dataclass(frozen=True)
class Compared:
    """Runs that are held against each other.

    Attributes:
        runs: In the order given.
        letters: What each is called in drawings.
        quality_name: The figure that says how good they are; "" where they have none in common.
        qualities: That figure, run by run.
        by_macs: Which runs are on the front of MACs and quality.
        by_latency: Which are on the front of latency and quality.
        notes: What the figures are worth together.
    """

    runs: tuple[Run, ...]
    letters: tuple[str, ...]
    quality_name: str
    qualities: tuple[float | None, ...]
    by_macs: frozenset[int]
    by_latency: frozenset[int]
    notes: tuple[str, ...]


def compare_runs(runs: Sequence[Run]) -> Compared:
    """Returns runs side by side."""
    found = [accuracy_of(run.point.evaluation) for run in runs]
    names = {name for name, _, value in found if value is not None}
    name = next(iter(names)) if len(names) == 1 else ""
    qualities = tuple(value if name else None for *_, value in found)
    if len(names) > 1 and all(run.point.evaluation and run.point.evaluation.agreement is not None for run in runs):
        name = "agreement with the original"
        qualities = tuple(run.point.evaluation.agreement if run.point.evaluation else None for run in runs)
    return Compared(
        runs=tuple(runs),
        letters=tuple(_letter(place) for place in range(len(runs))),
        quality_name=name,
        qualities=qualities,
        by_macs=pareto_front([run.macs for run in runs], qualities),
        by_latency=pareto_front([run.ratio for run in runs], qualities),
        notes=tuple(_notes(runs, len(names), name)),
    )


def pareto_front(costs: Sequence[float | None], qualities: Sequence[float | None]) -> frozenset[int]:
    """Returns the numbers of the points that no other beats; a point that lacks a figure is on no front."""
    known = [
        (i, c, q) for i, (c, q) in enumerate(zip(costs, qualities, strict=True)) if c is not None and q is not None
    ]
    return frozenset(
        i for i, c, q in known if not any(oc <= c and oq >= q and (oc < c or oq > q) for _, oc, oq in known)
    )


def _letter(place: int) -> str:
    turn, letter = divmod(place, len(ascii_uppercase))
    return ascii_uppercase[letter] + (str(turn + 1) if turn else "")


def _notes(runs: Sequence[Run], kinds: int, name: str) -> list[str]:
    notes = []
    if len({run.original for run in runs if run.original}) > 1:
        notes.append("The runs started from different models: shares and ratios are each against its own original.")
    conditions = {_conditions(run.point.latency) for run in runs if run.point.latency is not None}
    machines = {run.machine for run in runs if run.machine}
    if len(conditions) > 1 or len(machines) > 1:
        notes.append(
            "Latency was measured under different conditions "
            f"({'; '.join(sorted({*conditions, *(machines if len(machines) > 1 else ())}))}): ratios are each against "
            "the original under the same conditions, times are not comparable."
        )
    sizes = {run.point.evaluation.n for run in runs if run.point.evaluation is not None}
    if len(sizes) > 1:
        counts = ", ".join(f"{n:,}" for n in sorted(sizes))
        notes.append(f"Accuracy was measured on different data ({counts} samples): it is not comparable.")
    if kinds > 1:
        notes.append(
            "The runs measured different figures of quality"
            + (f"; {name} is what they have in common." if name else ", and have none in common.")
        )
    noisy = [_letter(i) for i, run in enumerate(runs) if run.point.latency is not None and run.point.latency.noisy]
    if noisy:
        notes.append(f"Other load disturbed the latency of {', '.join(noisy)}.")
    return [*notes, *_ties(runs), *_chance(runs)]


def _conditions(latency: LatencyReport) -> str:
    provider = latency.provider.removesuffix("ExecutionProvider")
    return f"{provider}, {latency.threads} thread{'' if latency.threads == 1 else 's'}, batch {latency.batch}"


def _ties(runs: Sequence[Run]) -> Iterable[str]:
    """Yields which neighbours in latency have intervals that overlap."""
    known = sorted((run.interval, _letter(i)) for i, run in enumerate(runs) if run.interval is not None)
    tied = [f"{a} and {b}" for (one, a), (two, b) in pairwise(known) if two[0] <= one[1]]
    if tied:
        yield f"Latency does not tell apart {', '.join(tied)}: their intervals overlap."


def _chance(runs: Sequence[Run]) -> Iterable[str]:
    found: list[Evaluation] = [run.point.evaluation for run in runs if run.point.evaluation is not None]
    bounds = [bound for bound in map(chance_points, found) if bound is not None]
    if bounds:
        yield (
            f"Of the accuracies, differences to the original below {max(bounds):.1f} points can be chance with so many "
            "samples."
        )
