"""Options that say what goes, which `compress` and `plan` share, and those that carry a decision out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from onnxprune.cli.options import APPROXIMATE_HELP, recipe_option

__all__ = ["bounding_options", "budget_options", "carrying_options", "deciding_options", "form_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

_BUDGETS = (
    recipe_option("--flops", "Multiply-accumulates to keep at most: 0.4, 40% or 20M.", metavar="BUDGET"),
    recipe_option("--params", "Parameters to keep at most: 0.4, 40% or 1.2M.", metavar="BUDGET"),
    recipe_option("--size", "Bytes of weights to keep at most: 0.4, 40% or 800kB.", metavar="BUDGET"),
    recipe_option("--memory", "Bytes of activations at once to keep at most: 0.5, 50% or 2MB.", metavar="BUDGET"),
)
_LATENCY = recipe_option("--latency", "Time of a run to take at most, measured: 0.6, 60% or 4ms.", metavar="BUDGET")
_DECIDING = (
    recipe_option("--allocator", "How groups share the budget: dsa, knapsack, global, ... [default: auto]"),
    recipe_option("--criterion", "How channels are scored, such as fisher or magnitude. [default: auto]"),
    recipe_option("--criterion-reduce", "How weights of one group are gathered: mean, max or sum. [default: mean]"),
    recipe_option("--criterion-normalize", "How groups compare: auto, mean, max, gaussian or none. [default: auto]"),
    recipe_option("--approximate", APPROXIMATE_HELP, switch=True),
    recipe_option("--align", "Multiple that kept counts prefer. [default: auto]", metavar="auto|N"),
    recipe_option("--search-epochs", "Passes over the data in which dsa finds keep ratios. [default: 0.5]", float),
    recipe_option("--search-constraint", "How dsa holds budgets: elastic, projected or admm. [default: elastic]"),
    recipe_option("--search-masks", "How dsa switches channels: bernoulli or soft. [default: bernoulli]"),
    recipe_option("--pattern", "What goes: channels, tiles of weights, or both. [default: channels]"),
    recipe_option(
        "--block",
        "Inputs and outputs of a block of tiles, such as 16x64; or N:M, such as 2:4. [default: auto]",
        metavar="auto|KxN|N:M",
    ),
    recipe_option("--saliency", "What entries of tiles are worth: auto, magnitude or fisher. [default: auto]"),
    recipe_option(
        "--permute",
        "Let channels change places so that small weights meet in the tiles that go. [default: on]",
        switch=True,
        secondary="--no-permute",
    ),
)
_FORM = recipe_option(
    "--block-sparse",
    "How tiled layers are computed: auto (fastest), kernel, body, densify, never. [default: auto]",
)
_CARRYING = (
    recipe_option(
        "--recover",
        "Fit the pruned model to the original at once. [default: on]",
        switch=True,
        secondary="--no-recover",
    ),
    _FORM,
    recipe_option(
        "--other-weights",
        "Carry out a plan made for another file with the same groups, such as the same net trained again.",
        switch=True,
    ),
)


def budget_options(command: Command) -> Command:
    """Adds the budgets."""
    return _all((*_BUDGETS, _LATENCY), command)


def bounding_options(command: Command) -> Command:
    """Adds the budgets that a plan can be held against."""
    return _all(_BUDGETS, command)


def deciding_options(command: Command) -> Command:
    """Adds the options of choosing channels and tiles."""
    return _all(_DECIDING, command)


def form_option(command: Command) -> Command:
    """Adds the form of tiled layers; where it is not asked for, tiles go from layers that are faster so."""
    return _all((_FORM,), command)


def carrying_options(command: Command) -> Command:
    """Adds the options of what comes after a decision."""
    return _all(_CARRYING, command)


def _all(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
