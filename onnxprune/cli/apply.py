"""`onnxprune apply`: carry a plan out, retrain, check, write."""

from __future__ import annotations

import click

from onnxprune.cli.deciding import bounding_options, carrying_options
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

__all__ = ["apply"]


@click.command(short_help="Prune a model as a plan says, retrain it, check it, write it.")
@click.argument("model")
@click.argument("plan")
@recipe_option("--out", "Where the slim model goes. [default: <stem>.slim.onnx in the current folder]")
@bounding_options
@recipe_option("--data", f"Training data; without it nothing is retrained. {DATA_HELP}")
@recipe_option("--eval-data", f"Evaluation data. {DATA_HELP}")
@image_options
@carrying_options
@training_options
@runtime_options
@run_options
@click.option("--recipe", help="TOML file with options; options given here override it.")
@output_options
@click.pass_context
def apply(
    ctx: click.Context, model: str, plan: str, recipe: str | None, as_json: bool, quiet: bool, verbose: int
) -> None:
    """Prunes MODEL exactly as PLAN says, and goes on as `onnxprune compress` does.

    PLAN comes from `onnxprune plan`, or from the run folder of `onnxprune compress`, and may have been changed by hand.
    It is refused where it was made for another file, or does not fit. With a budget it is refused where it keeps more
    (exit code 5); without one it keeps what it keeps.

    \b
    onnxprune plan resnet.onnx --flops 0.4 -o plan.json
    onnxprune apply resnet.onnx plan.json -o slim.onnx --data train.npz
    """
    start_logging(verbose)
    # pydantic is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.recipe import Recipe, curve_of, toml_options

    options = recipe_options(ctx) | {"model": model, "plan": plan}
    if recipe is not None:
        options = toml_options(recipe, options)
    curve_of(options)  # a plan is one point, which this says
    run = Recipe.from_mapping(options)
    # torch and onnxruntime are loaded once the options are in order
    from onnxprune import pipeline

    run_and_show(lambda on_event: pipeline.compress(run, on_event), as_json=as_json, quiet=quiet, verbose=verbose)
