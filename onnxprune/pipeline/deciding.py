"""The passes of a run up to its plan, which deciding alone and compressing share."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from onnxprune.core.phases import Phase
from onnxprune.core.stage import Pass
from onnxprune.passes.add_biases import AddBiases
from onnxprune.passes.allocate_budget import AllocateBudget
from onnxprune.passes.carry_search import CarrySearch
from onnxprune.passes.count_original import CountOriginal
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.keep_everything import KeepEverything
from onnxprune.passes.learn_latency import LearnLatency
from onnxprune.passes.meet_latency import MeetLatency
from onnxprune.passes.open_search import OpenSearch
from onnxprune.passes.plan_n_of_m import PlanNOfM
from onnxprune.passes.plan_tiles import PlanTiles
from onnxprune.passes.score_channels import ScoreChannels
from onnxprune.passes.score_tiles import ScoreTiles
from onnxprune.passes.sign_plan import SignPlan
from onnxprune.passes.time_tiles import TimeTiles
from onnxprune.pipeline.data import data_pass
from onnxprune.recipe import Recipe
from onnxprune.tiles import NOfM
from onnxprune.trial.supernet import SupernetOptions

__all__ = ["analysing", "choosing_tiles", "deciding"]


def analysing(recipe: Recipe) -> list[Pass]:
    """The passes up to the groups."""
    return [
        data_pass(recipe),
        FoldConstants(),
        # what folding a lent normalisation leaves needs a place in later phases
        *([AddBiases()] if recipe.phases > 1 or recipe.dense_epochs or recipe.carries else []),
        FindShapes(seed=recipe.seed),
        CountOriginal(),
        FindGroups(recipe.approximate),
    ]


def deciding(
    recipe: Recipe, phase: Phase, options: Mapping[str, Any], known: AbstractSet[str] = frozenset()
) -> list[Pass]:
    """The passes of one phase that end with a plan of channels.

    Args:
        recipe: Every option of the run.
        phase: Which phase of how many.
        options: What the plan depends on, for its record.
        known: Artifacts that are there already.
    """
    timed_tiles = [] if "tile_gains" in known else _time_tiles(recipe)
    if recipe.pattern == "tiles":
        return [*timed_tiles, KeepEverything()]
    allocate = AllocateBudget(recipe.budgets, recipe.allocator, recipe.align, phase)
    timed = recipe.latency is not None and "latency_plan" not in known
    return [
        *timed_tiles,
        *(
            []
            if "scores" in known and phase.number == 1
            else [ScoreChannels(recipe.criterion, recipe.seed, recipe.criterion_reduce, recipe.criterion_normalize)]
        ),
        *([ScoreTiles(recipe.block_option, recipe.saliency, recipe.seed)] if recipe.pattern == "both" else []),
        *([_search(recipe, phase)] if recipe.learns else []),
        *([LearnLatency(recipe.align, recipe.provider, recipe.threads, recipe.seed)] if timed else []),
        allocate,
        *([CarrySearch()] if recipe.carries else []),
        *(
            [MeetLatency(recipe.latency, allocate, recipe.provider, recipe.threads, recipe.seed)]
            if recipe.latency and phase.number == phase.count
            else []
        ),
        SignPlan(options, recipe.budgets),
    ]


def choosing_tiles(recipe: Recipe, phase: Phase, options: Mapping[str, Any]) -> list[Pass]:
    """The passes that choose tiles of the weights that channels leave.

    Args:
        recipe: Every option of the run.
        phase: Which phase of how many.
        options: What the plan depends on, for its record.
    """
    plan: Pass
    if recipe.n_of_m is not None:
        plan = PlanNOfM(NOfM(*recipe.n_of_m), recipe.saliency, recipe.permute, recipe.seed)
    else:
        plan = PlanTiles(
            recipe.budgets,
            recipe.allocator,
            recipe.block_option,
            recipe.saliency,
            recipe.permute,
            recipe.seed,
            phase,
            learning=_learning(recipe, phase) if recipe.tiles_learn else None,
            ratios=recipe.search_options,
            batchnorm=recipe.batchnorm,
        )
    return [plan, SignPlan(options, recipe.budgets)]


def _time_tiles(recipe: Recipe) -> list[Pass]:
    """The pass that asks which layers tiles make faster, where that decides how they are computed."""
    if recipe.pattern == "channels" or recipe.n_of_m is not None or recipe.block_sparse != "auto":
        return []
    shared, block = recipe.pattern == "both", recipe.block_option
    return [TimeTiles(recipe.budgets, shared, block, recipe.provider, recipe.threads, recipe.seed)]


def _search(recipe: Recipe, phase: Phase) -> OpenSearch:
    """The pass that gets ready what keep ratios learn on."""
    return OpenSearch(_learning(recipe, phase), recipe.search_options, recipe.batchnorm, recipe.from_scratch)


def _learning(recipe: Recipe, phase: Phase) -> SupernetOptions:
    """How weights learn while keep ratios do."""
    return SupernetOptions(recipe.train_options(max(1, phase.epochs)), recipe.search_epochs)
