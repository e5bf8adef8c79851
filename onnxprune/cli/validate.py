"""`onnxprune validate`: how a slim model compares with its original."""

from __future__ import annotations

import click

from onnxprune.cli.options import (
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

__all__ = ["validate"]


@click.command(short_help="Compare a slim model with its original.")
@click.argument("original")
@click.argument("slim")
@recipe_option("--data", f"Evaluation data. {DATA_HELP}")
@image_options
@recipe_option("--metric", "Your own metric, higher is better.", metavar="PKG.MOD:NAME")
@runtime_options
@recipe_option(
    "--plan", "Plan by which SLIM was cut and not trained: it has to compute what that leaves.", metavar="PLAN.JSON"
)
@recipe_option("--report", "Where report.json goes, with .html and .md beside it. [default: nowhere]")
@recipe_option("--gate", GATE_HELP, metavar="GATE", multiple=True)
@output_options
@click.pass_context
def validate(ctx: click.Context, original: str, slim: str, as_json: bool, quiet: bool, verbose: int) -> None:
    """Compares SLIM with ORIGINAL: outputs, accuracy on --data, size and latency.

    With --plan SLIM is also held against what the plan leaves of ORIGINAL, to 1e-4: exit code 4 where its weights are
    others.
    """
    start_logging(verbose)
    # pydantic is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.recipe import Comparison

    run = Comparison.from_mapping(recipe_options(ctx) | {"original": original, "slim": slim})
    # torch and onnxruntime are loaded once the options are in order
    from onnxprune import pipeline

    try:
        with show_progress(quiet=quiet) as on_event:
            report = pipeline.validate(run, on_event)
    except GateError as error:
        if error.outcome is not None:
            show_report(error.outcome, as_json=as_json, verbose=verbose)
        raise
    show_report(report, as_json=as_json, verbose=verbose)
