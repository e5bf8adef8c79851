"""`onnxprune inspect`: what can be pruned, what cannot, and why."""

from __future__ import annotations

import dataclasses
import json

import click

from onnxprune.cli.options import APPROXIMATE_HELP, output_options, start_logging
from onnxprune.cli.output import show
from onnxprune.cli.progress import show_progress

__all__ = ["inspect"]


@click.command(short_help="Show what can be pruned in a model, what cannot, and why.")
@click.argument("model")
@click.option("--approximate", is_flag=True, help=APPROXIMATE_HELP)
@output_options
def inspect(model: str, approximate: bool, as_json: bool, quiet: bool, verbose: int) -> None:
    """Shows what MODEL expects, its groups of coupled channels, and what is frozen.

    For each group: channels, weights it runs through, share of the MACs. For each frozen axis:
    the operator and the reason. Also the range of budgets that can be reached.
    """
    start_logging(verbose)
    # torch and onnxruntime are loaded when the command runs, not for `onnxprune --help`
    from onnxprune import pipeline
    from onnxprune.cli.inspection import render_inspection

    with show_progress(quiet=quiet) as on_event:
        inspection = pipeline.inspect(model, approximate=approximate, on_event=on_event)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(inspection), indent=1))
    else:
        show(render_inspection(inspection))
