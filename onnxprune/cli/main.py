"""The `onnxprune` command.

Commands are imported when they are called: `onnxprune --help` and `onnxprune doctor` work where
torch or onnxruntime do not.
"""

from __future__ import annotations

import click

from onnxprune import __version__
from onnxprune.cli.apply import apply
from onnxprune.cli.bench import bench
from onnxprune.cli.build_ops import build_ops
from onnxprune.cli.compress import compress
from onnxprune.cli.doctor import doctor
from onnxprune.cli.guard import GuardedGroup
from onnxprune.cli.import_module import import_module
from onnxprune.cli.inspect import inspect
from onnxprune.cli.plan import plan
from onnxprune.cli.recipe import recipe
from onnxprune.cli.report import report
from onnxprune.cli.retrain import retrain
from onnxprune.cli.show import show
from onnxprune.cli.validate import validate

__all__ = ["cli", "main"]

EPILOG = (
    "Exit codes: 0 done; 1 an input cannot be used; 2 usage; 3 a gate failed; 4 the pruned model does not equal the "
    "masked original, no model was written; 5 the budget cannot be met; 70 a bug in onnxprune; 130 interrupted. "
    "Results go to stdout, progress and messages to stderr."
)


@click.group(cls=GuardedGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="onnxprune")
def cli() -> None:
    """Prunes trained ONNX models to a budget, retrains them, and proves the result."""


_COMMANDS = (
    compress,
    plan,
    apply,
    recipe,
    inspect,
    retrain,
    validate,
    bench,
    report,
    show,
    import_module,
    build_ops,
    doctor,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Runs the command line and exits."""
    cli(prog_name="onnxprune")
