"""The options of `onnxprune compress`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from onnxprune.core.budget import Budget
from onnxprune.core.errors import UsageError
from onnxprune.core.phases import Iteration, Phase, phases_of
from onnxprune.core.plan import Plan
from onnxprune.core.search import LEARNING, Constraint, MaskKind, SearchOptions
from onnxprune.core.tile_options import BlockOption, Saliency, When, parse_block, parse_n_of_m
from onnxprune.criteria.base import Normalize, Reduce
from onnxprune.recipe.fields import Align, ModelSource, PlanSource, budget
from onnxprune.recipe.training import TrainingFields, TrainingKeywords

__all__ = ["LEARNING", "CarryingKeywords", "CompressKeywords", "DecidingKeywords", "Recipe"]

_SCRATCH_WARMUP = 0.2
_SCRATCH_RAMP = 0.7


class DecidingKeywords(TrainingKeywords, total=False):
    """The further keywords of `onnxprune.plan`; see `Recipe`."""

    criterion_reduce: str
    criterion_normalize: str
    search_epochs: float
    search_constraint: str
    search_masks: str
    pattern: str
    block: str
    saliency: str
    permute: bool
    block_sparse: str


class CarryingKeywords(TrainingKeywords, total=False):
    """The further keywords of `onnxprune.apply`; see `Recipe`."""

    recover: bool
    block_sparse: str
    other_weights: bool


class CompressKeywords(DecidingKeywords, CarryingKeywords, total=False):
    """The further keywords of `onnxprune.compress`; see `Recipe`."""

    phases: int
    iteration: str
    dense_epochs: int
    search_carry: bool
    from_scratch: bool
    plan: str | os.PathLike[str] | Plan


class Recipe(TrainingFields):
    """The options of one run; those of data and retraining are `TrainingFields`'.

    Attributes:
        model: The model: a path, or an onnx.ModelProto.
        flops: Upper bound on multiply-accumulates (MACs).
        params: Upper bound on the number of parameters.
        size: Upper bound on bytes of weights.
        memory: Upper bound on bytes of activations alive at once, one sample (`onnxprune.cost.memory`).
        latency: Upper bound on the time of a run in onnxruntime, one sample, on `provider`.
        allocator: Name of the allocator that shares the budget out over groups; "auto" is chosen by what
            there is to go by (`onnxprune.allocate.preferred`).
        criterion: Name of the criterion that scores channels; "auto" is "fisher" where there are data,
            "magnitude" where there are none.
        criterion_reduce: How several weights of one group are gathered (`onnxprune.criteria.pooling`).
        criterion_normalize: How scores of different groups compare (`onnxprune.criteria.compare`).
        approximate: Whether channels may go over which an operator takes statistics, such as the
            width that LayerNormalization normalises.
        align: Multiple that kept counts prefer; "auto" asks the provider's hardware.
        phases: How many times pruning and retraining take turns.
        iteration: How the budget is approached over the phases (`onnxprune.core.phases`).
        dense_epochs: Epochs of training before the first cut, for "bimp".
        search_epochs: Passes over the training data during which "dsa" searches for keep ratios.
        search_constraint: How it holds the budgets meanwhile (`onnxprune.allocate.ratios`).
        search_masks: Whether it draws masks or multiplies with probabilities (`onnxprune.core.search`).
        search_carry: Whether what the weights learned meanwhile is where retraining begins.
        from_scratch: Whether "dsa" begins with fresh weights instead of trained ones, and retraining goes
            on from them.
        recover: Whether the pruned model is fitted to the original's activations, where there are data.
        pattern: What goes: whole "channels", "tiles" of weights (`onnxprune.tiles`), or "both".
        block: Inputs and outputs of a block of tiles, such as "16x64"; "auto" suits the operator. "2:4" is no block:
            every output keeps 2 of each 4 inputs in a row, and no budget goes with it.
        saliency: What an entry of a weight is worth when tiles go: "magnitude", "fisher", or "auto", which is
            fisher where there are data.
        permute: Whether channels may change places so that small weights meet in the tiles that go.
        block_sparse: How tiled layers are computed (`onnxprune.kernels.rewrite`): "auto" as is fastest, which is
            measured; "kernel" (or "always"), "body" or "densify", each where a layer can be; or "never", which leaves
            zeros in dense weights. All but "auto" give the same bytes every time.
        plan: A plan to carry out instead of deciding: a path, or an `onnxprune.core.plan.Plan`. Budgets beside it are
            bounds that it has to keep to.
        other_weights: Whether the plan may have been made for another file with the same groups and sizes.
    """

    model: ModelSource
    flops: Annotated[Budget | None, budget("flops")] = None
    params: Annotated[Budget | None, budget("params")] = None
    size: Annotated[Budget | None, budget("size")] = None
    memory: Annotated[Budget | None, budget("memory")] = None
    latency: Annotated[Budget | None, budget("latency")] = None
    allocator: str = "auto"
    criterion: str = "auto"
    criterion_reduce: Reduce = "mean"
    criterion_normalize: Normalize = "auto"
    approximate: bool = False
    align: Align = "auto"
    phases: int = Field(default=1, ge=1)
    iteration: Iteration = "imp"
    dense_epochs: int = Field(default=0, ge=0)
    search_epochs: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    search_constraint: Constraint = "elastic"
    search_masks: MaskKind = "bernoulli"
    search_carry: bool = False
    from_scratch: bool = False
    recover: bool = True
    pattern: Literal["channels", "tiles", "both"] = "channels"
    block: str = "auto"
    saliency: Saliency = "auto"
    permute: bool = True
    block_sparse: When = "auto"
    plan: PlanSource | None = None
    other_weights: bool = False

    @property
    def block_option(self) -> BlockOption:
        """The block of tiles that was asked for, None for what suits the operator."""
        return None if self.n_of_m is not None else parse_block(self.block)

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """How many of each few inputs every output keeps, where that was asked for."""
        return parse_n_of_m(self.block)

    @property
    def tiles_learn(self) -> bool:
        """Whether densities of tiles are learned on data, without channels."""
        return self.pattern == "tiles" and self._learning_follows

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets that were set; all of them must hold."""
        given = (self.flops, self.params, self.size, self.memory, self.latency)
        return tuple(b for b in given if b is not None)

    @property
    def out_path(self) -> Path | None:
        """`out`, where unset `<stem>.slim.onnx` in the current folder; None for a model in memory."""
        if self.out is not None:
            return self.out
        return Path(f"{self.model.stem}.slim.onnx") if isinstance(self.model, Path) else None

    @property
    def turns(self) -> list[Phase]:
        """The phases of pruning and retraining, with their epochs."""
        return phases_of(self.iteration, self.phases, self.training_epochs, self.dense_epochs)

    @property
    def learns(self) -> bool:
        """Whether keep ratios of channels are learned on data."""
        return self.pattern != "tiles" and self._learning_follows

    @property
    def _learning_follows(self) -> bool:
        if self.plan is not None:
            return False
        if self.allocator != "auto":
            return self.allocator in LEARNING
        if self.from_scratch or self.search_carry:
            return True
        # who trains no epoch does not wait for half of one; time is measured, and tables of it serve the knapsack
        return self.data is not None and self.training_epochs > 0 and self.latency is None

    @property
    def carries(self) -> bool:
        """Whether retraining begins from what was learned during the search."""
        return (self.search_carry and self.learns) or self.from_scratch

    @property
    def search_options(self) -> SearchOptions:
        """How keep ratios are searched for."""
        found = SearchOptions(masks=self.search_masks, constraint=self.search_constraint, seed=self.seed)
        # what nothing has been learned of yet tells nothing about channels
        return replace(found, warmup=_SCRATCH_WARMUP, ramp=_SCRATCH_RAMP) if self.from_scratch else found

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        if self.other_weights and self.plan is None:
            raise UsageError("--other-weights speaks of a plan, and there is none. Give --plan, or leave it out.")
        if self.plan is not None:
            self._check_planned()
        else:
            self._check_n_of_m()
            if not self.budgets and self.n_of_m is None:
                raise UsageError(
                    "There is no budget to meet. Give --flops, --params, --size, --memory or --latency, for example "
                    "--flops 0.5."
                )
            self._check_tiles()
            self._check_learning()
        super().check_together()
        _ = self.turns
        self._check_places()

    def _check_planned(self) -> None:
        """Checks what makes no sense where all is decided; what the plan was made with is held against it later."""
        for name, given, usual, why in (
            ("--phases", self.phases, 1, "later phases would decide anew, from weights that were trained meanwhile"),
            ("--iteration", self.iteration, "imp", "there are no phases between which budgets could change"),
            ("--dense-epochs", self.dense_epochs, 0, "the plan was made for the weights as they are"),
            ("--search-carry", self.search_carry, False, "nothing is searched for"),
            ("--from-scratch", self.from_scratch, False, "nothing is searched for"),
        ):
            if given != usual:
                value = "" if given is True else f" {given}"
                raise UsageError(f"{name}{value} does not go with a plan: {why}. Leave it out.")
        _ = self.block_option
        self._check_n_of_m_form()

    def _check_learning(self) -> None:
        if self.dense_epochs and self.iteration != "bimp":
            raise UsageError(f"--dense-epochs {self.dense_epochs} belongs to --iteration bimp.")
        if self.dense_epochs and self.data is None:
            raise UsageError(f"--dense-epochs {self.dense_epochs} needs training data. Give --data.")
        if self.allocator in LEARNING and self.data is None:
            raise UsageError(
                f"--allocator {self.allocator} learns on training data. Give --data, or choose another one."
            )
        if self.carries and self.data is None:
            option = "--from-scratch" if self.from_scratch else "--search-carry"
            raise UsageError(f"{option} keeps what weights learn on training data. Give --data.")
        if self.from_scratch and self.allocator not in ("auto", "dsa"):
            raise UsageError(
                f"--from-scratch lets weights and keep ratios grow together, which --allocator {self.allocator} does "
                "not do. Give --allocator dsa."
            )
        if self.from_scratch and (self.phases > 1 or self.dense_epochs):
            raise UsageError("--from-scratch begins anew, and --phases go on from what was trained. Give one of them.")
        if self.phases > 1 and self.data is None:
            raise UsageError(f"--phases {self.phases} retrains between cuts, which needs training data. Give --data.")

    def _check_places(self) -> None:
        seen: dict[Path, str] = {}
        places = (("--out", self.out_path), ("--report", self.report_path), ("--run-dir", self.run_path))
        for name, path in (("MODEL", self.model), ("--plan", self.plan), *places):
            if not isinstance(path, Path):
                continue
            other = seen.setdefault(path.resolve(), name)
            if other != name:
                raise UsageError(f"{other} and {name} are the same file, {path}. Give {name} another name.")

    def _check_n_of_m(self) -> None:
        if self.n_of_m is None:
            return
        n, m = self.n_of_m
        asked = f"--block {self.block}"
        if self.pattern != "tiles":
            raise UsageError(
                f"{asked} takes single weights and no channels, and what it keeps is fixed. Give --pattern tiles; to "
                "have fewer channels as well, prune them first, and give the pruned model to a second run."
            )
        if self.budgets:
            raise UsageError(
                f"{asked} keeps {n} of every {m} inputs in each layer that can be cut, so no budget is "
                f"shared out: leave --{self.budgets[0].resource} out. The zeros stay in dense weights, and MACs, "
                "parameters and bytes remain what they are; only hardware with sparse tensor cores skips them."
            )
        for name, given, usual in (("--allocator", self.allocator, "auto"), ("--phases", self.phases, 1)):
            if given != usual:
                raise UsageError(f"{name} {given} does not go with {asked}: what it keeps is fixed. Leave it out.")
        self._check_n_of_m_form()

    def _check_n_of_m_form(self) -> None:
        if self.n_of_m is not None and self.block_sparse not in ("auto", "never"):
            raise UsageError(
                f"--block-sparse {self.block_sparse} does not go with --block {self.block}: there is no kernel for its "
                "zeros here. Leave it out."
            )

    def _check_tiles(self) -> None:
        _ = self.block_option
        if self.pattern == "channels":
            return
        for name, given in (("--latency", self.latency), ("--memory", self.memory)):
            if given is not None:
                raise UsageError(
                    f"{name} is met by channels. With --pattern {self.pattern} give --flops, --params or --size."
                )
        if self.from_scratch or self.search_carry:
            raise UsageError(
                "--from-scratch and --search-carry go on from weights that learned under masks of channels. Leave them "
                f"out with --pattern {self.pattern}."
            )
