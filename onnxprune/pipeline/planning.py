"""Deciding alone: a compress run up to its plan."""

from __future__ import annotations

from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.plan import Plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.pipeline.deciding import analysing, choosing_tiles, deciding
from onnxprune.pipeline.words import check_place, deciding_options
from onnxprune.recipe.planning import Planning
from onnxprune.report.write import write_text
from onnxprune.train.workers import workers

__all__ = ["plan"]


def plan(recipe: Planning, on_event: EventHandler = ignore_events) -> Plan:
    """Returns what a compress run with these options would cut; writes it where `out_path` says.

    Of several processes that search together, the first writes.

    Args:
        recipe: Every option of the run.
        on_event: Called with progress.

    Raises:
        BudgetError: when the budgets cannot be met.
        OnnxPruneError: when the user can act on it.
    """
    out, (phase,), options = recipe.out_path, recipe.turns, deciding_options(recipe)
    if out is not None:
        check_place(out)
    team, bench = workers(), Bench(on_event=on_event)
    with team.watched():
        run_passes([ImportModel(recipe.model), *analysing(recipe), *deciding(recipe, phase, options)], bench)
        if recipe.pattern != "channels":
            run_passes([PruneChannels(), *choosing_tiles(recipe, phase, options)], bench)
    found = bench.take("plan", Plan)
    if out is not None and team.first:
        write_text(out, found.to_json())
    return found
