"""`onnxprune compress`: prune to a budget, retrain, check, write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from onnxprune.cli.deciding import budget_options, carrying_options, deciding_options
from onnxprune.cli.options import (
    DATA_HELP,
    image_options,
    output_options,
    recipe_option,
    recipe_options,
    run_options,
    runtime_options,
    start_logging,
    training_options,
)
from onnxprune.cli.running import run_and_show

if TYPE_CHECKING:
    from onnxprune.core.events import EventHandler
    from onnxprune.core.result import Result

__all__ = ["compress"]


@click.command(short_help="Prune a model to a budget, retrain it, check it, write it.")
@click.argument("model", required=False)
@recipe_option("--out", "Where the slim model goes. [default: <stem>.slim.onnx in the current folder]")
@budget_options
@recipe_option("--data", f"Training data; without it nothing is retrained. {DATA_HELP}")
@recipe_option("--eval-data", f"Evaluation data. {DATA_HELP}")
@image_options
@deciding_options
@recipe_option("--phases", "Times that pruning and retraining take turns. [default: 1]", int)
@recipe_option("--iteration", "How budgets are approached over phases: imp, bimp or gmp. [default: imp]")
@recipe_option("--dense-epochs", "Epochs before the first cut, for bimp. [default: 0]", int)
@recipe_option("--search-carry", "Retrain from what the weights learned during the search. [default: off]", switch=True)
@recipe_option(
    "--from-scratch", "Let dsa begin with fresh weights, and train on from them. [default: off]", switch=True
)
@recipe_option("--plan", "A plan to carry out instead of deciding, as `onnxprune apply` does.", metavar="PLAN.JSON")
@carrying_options
@training_options
@runtime_options
@run_options
@click.option("--recipe", help="TOML file with these options; options given here override it.")
@output_options
@click.pass_context
def compress(
    ctx: click.Context, model: str | None, recipe: str | None, as_json: bool, quiet: bool, verbose: int
) -> None:
    """Prunes MODEL to the budgets given, retrains it, and writes an ONNX file.

    Several budgets must all hold. One that lists values, such as 0.7,0.5,0.3, gives a model for
    each. The pruned model is checked against the masked original in onnxruntime before anything
    is written. Prints what changed, as a table or as JSON.

    \b
    onnxprune compress resnet.onnx --flops 0.4
    onnxprune compress resnet.onnx --flops 40% --data train.npz --eval-data test.npz
    onnxprune compress resnet.onnx --flops 0.25 --data train.npz --epochs 12 --phases 3
    onnxprune compress --recipe recipe.toml
    """
    start_logging(verbose)
    # pydantic is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.recipe import Recipe, curve_of, toml_options

    options = recipe_options(ctx) | {"model": model}
    if recipe is not None:
        options = toml_options(recipe, options)
    curve = curve_of(options)
    run = Recipe.from_mapping(options) if curve is None else curve
    # torch and onnxruntime are loaded once the options are in order
    from onnxprune import pipeline

    def work(on_event: EventHandler) -> Result:
        return pipeline.compress(run, on_event) if isinstance(run, Recipe) else pipeline.trace(run, on_event)

    run_and_show(work, as_json=as_json, quiet=quiet, verbose=verbose)
