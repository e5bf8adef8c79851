"""`onnxprune plan`: decide which channels and tiles stay, and write that down."""

from __future__ import annotations

import click

from onnxprune.cli.deciding import budget_options, deciding_options, form_option
from onnxprune.cli.options import (
    DATA_HELP,
    image_options,
    output_options,
    place_options,
    recipe_option,
    recipe_options,
    start_logging,
    training_options,
)
from onnxprune.cli.output import show
from onnxprune.cli.progress import show_progress
from onnxprune.cli.running import is_first_process

__all__ = ["plan"]


@click.command(short_help="Decide what would be pruned, and write it down for `apply`.")
@click.argument("model", required=False)
@recipe_option("--out", "Where the plan goes, as JSON. [default: <stem>.plan.json in the current folder]")
@budget_options
@recipe_option("--data", f"Training data, to score channels and to learn keep ratios on. {DATA_HELP}")
@image_options
@deciding_options
@form_option
@training_options
@place_options
@recipe_option("--seed", "Seed of everything random. [default: 0]", int)
@click.option("--recipe", help="TOML file with these options; options given here override it.")
@output_options
@click.pass_context
def plan(ctx: click.Context, model: str | None, recipe: str | None, as_json: bool, quiet: bool, verbose: int) -> None:
    """Decides what `onnxprune compress` would cut from MODEL, and writes that down as JSON; the model stays as it is.

    `onnxprune apply` carries the plan out, and with the same options gives the bytes that `compress` gives. What a plan
    depends on are budgets, data and all options shown here; the options of retraining count where keep ratios are
    learned on data.

    \b
    onnxprune plan resnet.onnx --flops 0.4 -o plan.json
    onnxprune plan resnet.onnx --latency 0.6 --data train.npz --epochs 3
    onnxprune plan --recipe recipe.toml
    """
    start_logging(verbose)
    # pydantic is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.recipe import Planning, planning_options, toml_options

    base = {} if recipe is None else toml_options(recipe)
    run = Planning.from_mapping(planning_options(base, recipe_options(ctx) | {"model": model}))
    # torch and onnxruntime are loaded once the options are in order
    from onnxprune import pipeline
    from onnxprune.cli.planned import render_plan

    with show_progress(quiet=quiet or not is_first_process()) as on_event:
        found = pipeline.plan(run, on_event)
    if not is_first_process():
        return
    if as_json:
        click.echo(found.to_json(), nl=False)
    else:
        show(render_plan(found, run.out_path, verbose=verbose > 0))
