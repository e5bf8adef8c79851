"""Options that several commands share, and logging as they ask for it.

`recipe_option` files its value under the recipe's own name instead of handing it to the
command, so that an option of a run is written down once here and once in `Recipe`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = [
    "APPROXIMATE_HELP",
    "DATA_HELP",
    "GATE_HELP",
    "image_options",
    "json_option",
    "output_options",
    "recipe_option",
    "recipe_options",
    "runtime_options",
    "start_logging",
]

Command = TypeVar("Command", bound=Callable[..., Any])
APPROXIMATE_HELP = "Also prune channels over which an operator takes statistics (LayerNorm's width); retrain then."
DATA_HELP = "An .npz or .npy file."
GATE_HELP = "A bound that must hold, such as 'speedup>=1.2' or 'top1_drop<=0.5'; else exit code 3. May be repeated."
_META = "onnxprune.recipe"
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at that moment, so that lines go above a live progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def start_logging(verbose: int) -> None:
    """Sends onnxprune's log to stderr: warnings, with 1 also each pass, with 2 everything."""
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("onnxprune")
    logger.handlers = [handler]
    logger.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])


def json_option(command: Command) -> Command:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def output_options(command: Command) -> Command:
    """Adds --json, --quiet and --verbose."""
    quiet = click.option("-q", "--quiet", is_flag=True, help="No progress and no notes on stderr.")
    verbose = click.option("-v", "--verbose", count=True, help="Log each pass on stderr; -vv logs everything.")
    return json_option(quiet(verbose(command)))


def recipe_option(
    flag: str,
    help_text: str,
    kind: click.ParamType[Any] | type = str,
    metavar: str | None = None,
    *,
    switch: bool = False,
    multiple: bool = False,
) -> Callable[[Command], Command]:
    """Returns a decorator that adds an option of `Recipe`, named as its field with "-" for "_".

    A list is named in the plural, and the option that adds to it in the singular.

    Args:
        flag: The option, such as "--batch-size"; "-o" is added to "--out".
        help_text: What it does, with its default.
        kind: Type of the value.
        metavar: How the value is called in the help.
        switch: Whether the option stands alone, without a value.
        multiple: Whether it may be given several times.
    """

    def store(ctx: click.Context, param: click.Parameter, value: object) -> None:
        recipe_options(ctx)[str(param.name)] = None if multiple and not value else value

    if switch:
        return click.option(flag, is_flag=True, default=None, help=help_text, expose_value=False, callback=store)
    flags = {"--out": ("-o", flag), "--gate": (flag, "gates")}.get(flag, (flag,))
    return click.option(
        *flags, type=kind, metavar=metavar, multiple=multiple, help=help_text, expose_value=False, callback=store
    )


def recipe_options(ctx: click.Context) -> dict[str, object]:
    """Returns what the call gave: field of `Recipe` → value, None where it was not given."""
    options: dict[str, object] = ctx.meta.setdefault(_META, {})
    return options


def runtime_options(command: Command) -> Command:
    """Adds --provider and --threads."""
    provider = "Where models are checked and timed. [default: auto]"
    threads = "Threads per onnxruntime session. [default: onnxruntime's choice]"
    first = recipe_option("--provider", provider, click.Choice(["auto", "cpu", "cuda"]))
    return first(recipe_option("--threads", threads, int)(command))


def image_options(command: Command) -> Command:
    """Adds --image-mean and --image-std."""
    mean = "Mean of uint8 images in 0-1 units, one for all channels or one each."
    std = "Standard deviation of uint8 images, likewise."
    first = recipe_option("--image-mean", mean, metavar="M[,M...]")
    return first(recipe_option("--image-std", std, metavar="S[,S...]")(command))
