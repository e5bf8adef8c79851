"""The report of a run that failed: what it had reached, and why it went no further.

A run that is refused at its beginning, because a model or data cannot be used or an option makes no sense, leaves
nothing, and neither does one that is interrupted, since it can go on. What fails later has told something by then.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxprune.core.budget import Budget
from onnxprune.core.certificate import Certificate
from onnxprune.core.errors import GateError, InternalError, Interrupted, OnnxPruneError, OutputError, UsageError
from onnxprune.core.events import Event, EventHandler, Note, PassFinished, PassStarted
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, PassRecord
from onnxprune.cost import group_shares
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.passes.write_report import (
    certificate_record,
    cost_record,
    model_record,
    pass_record,
    recovery_record,
    search_record,
    source_files,
    training_record,
)
from onnxprune.report.outputs import write_reports
from onnxprune.report.records import frozen_records, group_records, open_budget_record
from onnxprune.report.schema import Failure, PlanRecord, Report
from onnxprune.runtime import environment

__all__ = ["Asked", "Watch", "failures_reported"]

_log = logging.getLogger(__name__)


@dataclass
class Watch:
    """A handler of events that hands them on and knows which pass is under way."""

    on_event: EventHandler
    under_way: str = field(default="")

    def __call__(self, event: Event) -> None:
        if isinstance(event, PassStarted):
            self.under_way = event.name
        elif isinstance(event, PassFinished):
            self.under_way = ""
        self.on_event(event)


@dataclass(frozen=True)
class Asked:
    """What a report says of what was asked.

    Attributes:
        path: Where report.json goes; None for nowhere.
        command: The command that repeats the run.
        options: Every option of the run.
        seed: Seed of the run.
        budgets: What was to be met.
        plan: The plan that is carried out; None for a run that decides.
    """

    path: Path | None
    command: str
    options: Mapping[str, Any]
    seed: int | None = None
    budgets: Sequence[Budget] = ()
    plan: PlanRecord | None = None


@contextmanager
def failures_reported(
    asked: Asked, bench: Bench, records: Sequence[PassRecord], watch: Watch, *, begun: str
) -> Iterator[None]:
    """Writes the report of a run that fails within the block; the error goes on its way.

    Args:
        asked: What was asked.
        bench: What was found by then.
        records: Passes that were done.
        watch: Knows the pass that was under way.
        begun: The artifact without which the run was refused, and nothing is written.
    """
    try:
        yield
    except (GateError, Interrupted, UsageError):
        raise
    except Exception as error:
        if asked.path is not None and begun in bench.artifacts and "original" in bench.artifacts:
            try:
                write_reports(_report(asked, bench, records, _failure(error, watch.under_way)), asked.path)
                watch(Note(f"What the run had reached is in {asked.path}."))
            except OutputError as second:
                # the first error is what the user has to know
                _log.warning("The report of the failed run could not be written: %s", second)
        raise


def _failure(error: Exception, during: str) -> Failure:
    kind = type(error).__name__
    if isinstance(error, OnnxPruneError):
        return Failure(kind=kind, message=str(error), exit_code=error.exit_code, during=during)
    trace = "".join(traceback.format_exception(error))
    return Failure(kind=kind, message=trace, exit_code=InternalError.exit_code, during=during)


def _report(asked: Asked, bench: Bench, records: Sequence[PassRecord], failure: Failure) -> Report:
    original = bench.take("original", Model)
    analysis, plan = bench.find("analysis", Analysis), bench.find("plan", Plan)
    costs, certificate = bench.find("original_costs", dict) or {}, bench.find("certificate", Certificate)
    found: dict[str, Any] = {}
    if analysis is not None:
        found["frozen"] = frozen_records(analysis.frozen)
        found["unknown_ops"] = dict(analysis.unknown_ops)
        if plan is not None:
            kept = {name: len(indices) for name, indices in plan.kept.items()}
            shares = group_shares(analysis.macs, analysis.sizes)
            found["groups"] = group_records(analysis.groups, kept, macs_share=shares)
    if costs:
        found["before"] = cost_record(costs, source_files(original))
    return Report(
        command=asked.command,
        status="failed",
        failure=failure,
        options=dict(asked.options),
        seed=asked.seed,
        model=model_record(original, original.path),
        budgets=tuple(open_budget_record(budget, costs.get(budget.resource)) for budget in asked.budgets),
        certificate=certificate_record(certificate) if certificate is not None else None,
        recovery=recovery_record(bench),
        search=search_record(bench),
        training=training_record(bench),
        plan=asked.plan,
        notes=tuple(bench.notes),
        passes=tuple(pass_record(record) for record in records),
        environment=environment(),
        **found,
    )
