"""`onnxprune compress`: prune to a budget, retrain, check, write."""

from __future__ import annotations

import click

from onnxprune.cli.options import (
    APPROXIMATE_HELP,
    DATA_HELP,
    GATE_HELP,
    image_options,
    output_options,
    recipe_option,
    recipe_options,
    runtime_options,
    start_logging,
)
from onnxprune.cli.output import show_report
from onnxprune.cli.progress import show_progress
from onnxprune.core.errors import GateError

__all__ = ["compress"]


@click.command(short_help="Prune a model to a budget, retrain it, check it, write it.")
@click.argument("model", required=False)
@recipe_option("--out", "Where the slim model goes. [default: <stem>.slim.onnx in the current folder]")
@recipe_option("--flops", "Multiply-accumulates to keep at most: 0.4, 40% or 20M.", metavar="BUDGET")
@recipe_option("--params", "Parameters to keep at most: 0.4, 40% or 1.2M.", metavar="BUDGET")
@recipe_option("--size", "Bytes of weights to keep at most: 0.4, 40% or 800kB.", metavar="BUDGET")
@recipe_option("--data", f"Training data; without it nothing is retrained. {DATA_HELP}")
@recipe_option("--eval-data", f"Evaluation data. {DATA_HELP}")
@image_options
@recipe_option("--epochs", "Passes over the training data. [default: 3 with --data, else 0]", int)
@recipe_option("--batch-size", "Samples per training step. [default: 128]", int)
@recipe_option("--lr", "Peak learning rate. [default: the trainer's choice]", float)
@recipe_option("--allocator", "How groups share the budget: global or uniform. [default: global]")
@recipe_option("--criterion", "How channels are scored: magnitude or bn_scale. [default: magnitude]")
@recipe_option("--approximate", APPROXIMATE_HELP, switch=True)
@recipe_option("--align", "Multiple that kept counts prefer. [default: auto]", metavar="auto|N")
@runtime_options
@recipe_option("--gate", GATE_HELP, metavar="GATE", multiple=True)
@recipe_option("--seed", "Seed of everything random. [default: 0]", int)
@recipe_option("--run-dir", "Folder for the plan and the passes' records. [default: none is kept]")
@recipe_option("--report", "Where report.json goes. [default: <stem of OUT>.report.json beside OUT]")
@click.option("--recipe", help="TOML file with these options; options given here override it.")
@output_options
@click.pass_context
def compress(
    ctx: click.Context, model: str | None, recipe: str | None, as_json: bool, quiet: bool, verbose: int
) -> None:
    """Prunes MODEL to the budgets given, retrains it, and writes an ONNX file.

    Several budgets must all hold. The pruned model is checked against the masked original in
    onnxruntime before anything is written. Prints what changed, as a table or as JSON.

    \b
    onnxprune compress resnet.onnx --flops 0.4
    onnxprune compress resnet.onnx --flops 40% --data train.npz --eval-data test.npz
    onnxprune compress --recipe recipe.toml
    """
    start_logging(verbose)
    # torch and onnxruntime are loaded when the command runs, not for `onnxprune --help`
    from onnxprune import pipeline
    from onnxprune.recipe import Recipe
    from onnxprune.report.schema import Report

    options = recipe_options(ctx) | {"model": model}
    run = Recipe.from_mapping(options) if recipe is None else Recipe.from_toml(recipe, options)
    try:
        with show_progress(quiet=quiet) as on_event:
            result = pipeline.compress(run, on_event=on_event)
    except GateError as error:
        if error.outcome is not None:
            show_report(Report.model_validate(error.outcome.report), as_json=as_json, verbose=verbose)
        raise
    show_report(Report.model_validate(result.report), as_json=as_json, verbose=verbose)
