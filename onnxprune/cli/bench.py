"""`onnxprune bench`: how long models take in onnxruntime."""

from __future__ import annotations

import click

from onnxprune.cli.options import (
    DATA_HELP,
    DENSE_HELP,
    image_options,
    output_options,
    recipe_option,
    recipe_options,
    start_logging,
)
from onnxprune.cli.output import show
from onnxprune.cli.progress import show_progress

__all__ = ["bench"]


@click.command(short_help="Compare the latency of models in onnxruntime.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@recipe_option("--providers", "cpu, cuda, tensorrt, openvino, coreml, dml or others of this onnxruntime. "
               "[default: auto]", metavar="P[,P...]")  # fmt: skip
@recipe_option("--batch", "Batch sizes. [default: 1]", metavar="N[,N...]")
@recipe_option("--threads", "Threads per session. [default: the physical cores]", metavar="N[,N...]")
@recipe_option("--dim", "Sizes of another dynamic dimension, such as sequence=128,512. May be repeated.",
               metavar="NAME=N[,N...]", multiple=True)  # fmt: skip
@recipe_option("--callers", "Also throughput, of so many threads that call at once.", metavar="N[,N...]")
@recipe_option("--starts", "Fresh processes that time how a model starts; 0 for none. [default: 3]", int)
@recipe_option("--nodes", "Also the slowest nodes of each model, so many. [default: 0]", int)
@recipe_option("--energy", "Also joules of a run, on CUDA, by NVML.", switch=True)
@recipe_option("--cuda-graph", "Let CUDA record a run and replay it, where the models allow that.", switch=True)
@recipe_option("--dense-forms", DENSE_HELP, click.Choice(["auto", "all", "off"]))
@recipe_option("--repeats", "Samples of each model, at least. [default: 50]", int)
@recipe_option("--seconds", "Seconds for each combination, at most. [default: 20]", float)
@recipe_option("--data", f"Data to draw inputs from; random ones without. {DATA_HELP}")
@image_options
@recipe_option("--seed", "Seed of everything random. [default: 0]", int)
@recipe_option("--out", "Where the figures go as JSON.")
@output_options
@click.pass_context
def bench(ctx: click.Context, models: tuple[str, ...], as_json: bool, quiet: bool, verbose: int) -> None:
    """Times MODEL... in one process, turn by turn, and compares each with the first.

    A ratio comes with its 95 % interval; where that holds 1, no difference is shown. Give one file twice to
    see what the machine's noise alone makes of it.
    """
    start_logging(verbose)
    # torch and onnxruntime are loaded when the command runs, not for `onnxprune --help`
    from onnxprune import pipeline
    from onnxprune.recipe.timing import Timing
    from onnxprune.report.timing_tables import render_timing

    options = Timing.from_mapping(recipe_options(ctx) | {"models": models})
    with show_progress(quiet=quiet) as on_event:
        found = pipeline.bench(options, on_event)
    if as_json:
        click.echo(found.to_json(), nl=False)
    else:
        show(render_timing(found))
