"""`onnxprune retrain`: train a model as it is, from another model or from labels."""

from __future__ import annotations

import click

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

__all__ = ["retrain"]


@click.command(short_help="Train a model from its original, or from labels.")
@click.argument("slim", required=False)
@recipe_option("--teacher", "The model to learn from, such as the original; without it labels are needed.")
@recipe_option("--out", "Where the trained model goes. [default: <stem>.retrained.onnx in the current folder]")
@recipe_option("--data", f"Training data. {DATA_HELP}")
@recipe_option("--eval-data", f"Evaluation data. {DATA_HELP}")
@image_options
@training_options
@runtime_options
@run_options
@click.option("--recipe", help="TOML file with these options; options given here override it.")
@output_options
@click.pass_context
def retrain(ctx: click.Context, slim: str | None, recipe: str | None, as_json: bool, quiet: bool, verbose: int) -> None:
    """Trains SLIM and writes it as an ONNX file; nothing is pruned.

    SLIM may come from anywhere, as long as it has the inputs and outputs of the teacher.

    \b
    onnxprune retrain slim.onnx --teacher model.onnx --data images/ --eval-data test.npz
    onnxprune retrain model.onnx --data train.npz --epochs 10 --schedule cosine
    """
    start_logging(verbose)
    # pydantic is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.recipe import Retraining

    options = recipe_options(ctx) | {"slim": slim}
    run = Retraining.from_mapping(options) if recipe is None else Retraining.from_toml(recipe, options)
    # torch and onnxruntime are loaded once the options are in order
    from onnxprune import pipeline

    run_and_show(lambda on_event: pipeline.retrain(run, on_event), as_json=as_json, quiet=quiet, verbose=verbose)
