"""Options that several commands share, and logging as they ask for it.

`recipe_option` files its value under the recipe's own name instead of handing it to the
command, so that an option of a run is written down once here and once in `Recipe`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

__all__ = [
    "APPROXIMATE_HELP",
    "DATA_HELP",
    "DENSE_HELP",
    "GATE_HELP",
    "REPORT_HELP",
    "image_options",
    "json_option",
    "output_options",
    "place_options",
    "recipe_option",
    "recipe_options",
    "run_options",
    "runtime_options",
    "start_logging",
    "training_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])
APPROXIMATE_HELP = "Also prune channels over which an operator takes statistics (LayerNorm's width); retrain then."
DATA_HELP = "An .npz or .npy file, a folder of images, a saved Hugging Face dataset, or pkg.mod:callable."
DENSE_HELP = "Also time the original in float16: auto (on devices that gain by it), all or off. [default: auto]"
GATE_HELP = "A bound that must hold, such as 'speedup>=1.2' or 'top1_drop<=0.5'; else exit code 3. May be repeated."
REPORT_HELP = "Where report.json goes, with .html and .md beside it. [default: <stem of OUT>.report.json beside OUT]"
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
    secondary: str = "",
) -> Callable[[Command], Command]:
    """Returns a decorator that adds an option of `Recipe`, named as its field with "-" for "_".

    A list is named in the plural, and the option that adds to it in the singular.

    Args:
        flag: The option, such as "--batch-size"; "-o" is added to "--out".
        help_text: What it does, with its default.
        kind: Type of the value.
        metavar: How the value is called in the help.
        switch: Whether the option stands alone, without a value.
        secondary: The option that switches it off, such as "--no-recover".
        multiple: Whether it may be given several times.
    """

    def store(ctx: click.Context, param: click.Parameter, value: object) -> None:
        recipe_options(ctx)[str(param.name)] = None if multiple and not value else value

    if switch:
        both = f"{flag}/{secondary}" if secondary else flag
        return click.option(both, is_flag=True, default=None, help=help_text, expose_value=False, callback=store)
    flags = {"--out": ("-o", flag), "--gate": (flag, "gates"), "--dim": (flag, "dims")}.get(flag, (flag,))
    return click.option(
        *flags, type=kind, metavar=metavar, multiple=multiple, help=help_text, expose_value=False, callback=store
    )


def recipe_options(ctx: click.Context) -> dict[str, object]:
    """Returns what the call gave: field of `Recipe` → value, None where it was not given."""
    options: dict[str, object] = ctx.meta.setdefault(_META, {})
    return options


def place_options(command: Command) -> Command:
    """Adds --provider and --threads."""
    provider = "Where models are checked and timed. [default: auto]"
    threads = "Threads per onnxruntime session. [default: onnxruntime's choice]"
    options = (
        recipe_option("--provider", provider, click.Choice(["auto", "cpu", "cuda"])),
        recipe_option("--threads", threads, int),
    )
    return _all(options, command)


def runtime_options(command: Command) -> Command:
    """Adds --provider and --threads, and what is timed beyond one sample."""
    options = (
        place_options,
        recipe_option("--batches", "Batch sizes at which both models are timed, too.", metavar="N[,N...]"),
        recipe_option("--profile", "Time the nodes of both models, too.", switch=True),
        recipe_option("--dense-forms", DENSE_HELP, click.Choice(["auto", "all", "off"])),
    )
    return _all(options, command)


def image_options(command: Command) -> Command:
    """Adds the options that say how image files and arrays become inputs."""
    options = (
        recipe_option("--image-mean", "Mean of uint8 images in 0-1 units, one number or several.", metavar="M[,M...]"),
        recipe_option("--image-std", "Standard deviation of uint8 images, likewise.", metavar="S[,S...]"),
        recipe_option("--image-size", "Size that image files are brought to. [default: the model's]", metavar="H[,W]"),
        recipe_option("--skip-corrupt", "Leave out image files that cannot be read.", switch=True),
    )
    return _all(options, command)


def training_options(command: Command) -> Command:
    """Adds the options of retraining, which `compress` and `retrain` share."""
    return _all(_TRAINING, command)


def run_options(command: Command) -> Command:
    """Adds the options that say where a run is kept, and how it goes on."""
    folder = "Folder for plan, checkpoints and records. [default: <stem of OUT>.run beside OUT, removed when done]"
    options = (
        recipe_option("--gate", GATE_HELP, metavar="GATE", multiple=True),
        recipe_option("--seed", "Seed of everything random. [default: 0]", int),
        recipe_option("--run-dir", folder),
        recipe_option("--resume", "Go on with the run that was stopped.", switch=True),
        recipe_option("--checkpoint-seconds", "Seconds between checkpoints within an epoch. [default: 60]", float),
        recipe_option("--report", REPORT_HELP),
    )
    return _all(options, command)


def _all(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


_TRAINING = (
    recipe_option("--val-data", "Validation data, in the same forms: the best epoch on them is kept."),
    recipe_option("--val-share", "Share of the training data to set aside for validation.", float),
    recipe_option("--epochs", "Passes over the training data. [default: 3 with --data, else 0]", int),
    recipe_option("--batch-size", "Samples per training step, over all processes. [default: 64]", int),
    recipe_option("--optimizer", "sgd or adamw. [default: sgd]"),
    recipe_option("--lr", "Peak learning rate. [default: the optimizer's]", float),
    recipe_option("--momentum", "Nesterov momentum of sgd. [default: 0.9]", float),
    recipe_option("--weight-decay", "Penalty on weights. [default: the optimizer's]", float),
    recipe_option("--schedule", "ft, lrw, slr, clr, llr, allr, constant, stepped, cosine or linear."),
    recipe_option("--warmup", "Share of steps that warm up, for schedules that leave it open.", float),
    recipe_option("--original-epochs", "Epochs the original was trained, as ft to allr assume. [default: 100]", float),
    recipe_option("--original-decay", "How its learning rate fell: cosine, linear or step. [default: cosine]"),
    recipe_option("--final-lr-ratio", "Its last over its largest learning rate. [default: 0.01]", float),
    recipe_option("--distill-weight", "Share of distillation beside labels. [default: 0.5]", float),
    recipe_option("--temperature", "Temperature of distillation. [default: 2]", float),
    recipe_option("--distill", "How outputs that are no class scores compare: mse or cosine. [default: auto]"),
    recipe_option("--features", "Inner tensors that are distilled, too.", metavar="NAME[,NAME...]"),
    recipe_option("--feature-weight", "Their weight in the loss. [default: 0]", float),
    recipe_option("--label-smoothing", "Share of probability spread over all classes. [default: 0]", float),
    recipe_option("--grad-clip", "Largest norm of the gradient; 0 for none. [default: 5]", float),
    recipe_option("--ema", "Decay of averaged weights, which are then kept; 0 for none. [default: 0]", float),
    recipe_option("--amp", "Mixed precision: auto, off, bf16 or fp16. [default: auto]"),
    recipe_option("--early-stop", "Epochs without a better validation score that end training.", int),
    recipe_option("--augment", "Random changes of images, such as flip,shift:4.", metavar="CHANGE[,CHANGE...]"),
    recipe_option("--loss", "Your own loss.", metavar="PKG.MOD:NAME"),
    recipe_option("--metric", "Your own metric, higher is better.", metavar="PKG.MOD:NAME"),
    recipe_option("--device", "Where training runs: auto, cpu or cuda. [default: auto]"),
    recipe_option("--compile", "Translate the model by torch.compile.", switch=True),
    recipe_option(
        "--batchnorm", "Insert normalisation for training. [default: on]", switch=True, secondary="--no-batchnorm"
    ),
)
