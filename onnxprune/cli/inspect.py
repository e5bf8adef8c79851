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
@click.option("--graph", metavar="OUT.SVG", help="Also draw the groups on the model's graph, for a browser.")
@output_options
def inspect(model: str, approximate: bool, graph: str | None, as_json: bool, quiet: bool, verbose: int) -> None:
    """Shows what MODEL expects, its groups of coupled channels, and what is frozen.

    For each group: channels, the share of MACs and parameters that runs over them, the weights.
    For each frozen axis: the operators from the weight to the one that keeps its channels, and
    the reason. Also the range of budgets that can be reached. -v shows long lists in full.
    """
    start_logging(verbose)
    # torch and onnxruntime are loaded when the command runs, not for `onnxprune --help`
    from onnxprune import pipeline
    from onnxprune.cli.inspection import render_inspection

    with show_progress(quiet=quiet) as on_event:
        inspection = pipeline.inspect(model, approximate=approximate, graph=graph, on_event=on_event)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(inspection), indent=1))
    else:
        show(render_inspection(inspection, graph=graph, verbose=verbose > 0))
