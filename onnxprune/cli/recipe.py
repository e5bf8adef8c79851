"""`onnxprune recipe`: write a recipe with every option, or check one."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from onnxprune.cli.compress import compress
from onnxprune.cli.options import json_option
from onnxprune.cli.output import show
from onnxprune.core.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from onnxprune.pipeline.checking import CheckedRecipe

__all__ = ["recipe"]

_DEFAULT_OUT = Path("recipe.toml")


@click.command(short_help="Write a recipe with every option, or check one.")
@click.argument("model", required=False)
@click.option("--init", is_flag=True, help="Write a recipe with every option commented out, for MODEL if given.")
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    metavar="RECIPE.TOML",
    help="Check a recipe without running it: options, files that it names, whether its model can be read.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Where --init writes. [default: recipe.toml in the current folder]",
)
@click.option("--force", is_flag=True, help="Let --init overwrite a file.")
@json_option
def recipe(model: str | None, init: bool, check: Path | None, out: Path | None, force: bool, as_json: bool) -> None:
    """Writes a recipe, or checks one, for `onnxprune compress --recipe`, `plan` and `apply`.

    \b
    onnxprune recipe --init resnet.onnx -o recipe.toml
    onnxprune recipe --check recipe.toml
    """
    if init == (check is not None):
        raise UsageError("Give --init to write a recipe, or --check RECIPE.TOML to check one.")
    if check is None:
        _write(out or _DEFAULT_OUT, model, force=force, as_json=as_json)
        return
    if out is not None or force:
        raise UsageError("--out and --force belong to --init; --check writes nothing.")
    # onnx and onnxruntime are loaded when the command runs, not for `onnxprune --help`
    from onnxprune.pipeline.checking import check_recipe

    found = check_recipe(check, model)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        if found.options:
            show(_table(found))
        for sentence in _sentences(found):
            click.echo(sentence)


def _write(path: Path, model: str | None, *, force: bool, as_json: bool) -> None:
    """Writes a recipe with every option.

    Raises:
        InputError: when the model does not exist.
        OutputError: when the file exists, or cannot be written.
    """
    if model is not None and not Path(model).is_file():
        raise InputError(f"{model}: there is no such file. Give the path of an ONNX file, or none.")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already. Add --force to overwrite it, or name another with --out.")
    from onnxprune.cli.recipe_file import recipe_text
    from onnxprune.pipeline.words import check_place
    from onnxprune.report.write import write_text

    check_place(path)
    # paths in a recipe start from its folder
    named = "" if model is None else os.path.relpath(model, path.parent)
    write_text(path, recipe_text(compress, named))
    if as_json:
        click.echo(json.dumps({"recipe": str(path)}))
    else:
        click.echo(f"Wrote {path}. Set a budget in it, and run `onnxprune compress --recipe {path}`.")


def _table(found: CheckedRecipe) -> Table:
    table = Table(title=Text(f"What {found.recipe} sets", style="bold"), title_justify="left", box=box.SIMPLE_HEAD,
                  show_header=False, pad_edge=False)  # fmt: skip
    for name, value in found.options.items():
        table.add_row(Text(name), Text(json.dumps(value, ensure_ascii=False), overflow="fold"))
    return table


def _sentences(found: CheckedRecipe) -> list[str]:
    left = f"Left open, to be given on the command line: {', '.join(found.left_open)}."
    return [*found.notes, left] if found.left_open else [*found.notes, "In order; nothing is left open."]
