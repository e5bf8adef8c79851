"""`onnxprune show`: what a model is and where it comes from."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from onnxprune.cli.options import json_option
from onnxprune.cli.output import show as print_result

if TYPE_CHECKING:
    from onnxprune.pipeline.showing import Shown

__all__ = ["show"]


@click.command(short_help="Show what made a model, and from what.")
@click.argument("model")
@click.option("--source", metavar="MODEL", help="Fail with exit code 1 unless it was made from this one.")
@json_option
def show(model: str, source: str | None, as_json: bool) -> None:
    """Shows the version, recipe, budgets and source that onnxprune wrote into MODEL."""
    # onnxruntime is loaded when the command runs, not for `onnxprune --help`
    from onnxprune import pipeline

    found = pipeline.show(model, source)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        print_result(_table(found))


def _table(found: Shown) -> Table:
    from onnxprune.report.figures import bytes_text

    table = Table(title=Text(found.model or "model", style="bold"), title_justify="left", box=box.SIMPLE_HEAD,
                  show_header=False, pad_edge=False)  # fmt: skip
    made = found.provenance
    rows = [
        ("SHA-256", found.sha256),
        ("operator set", str(found.opset)),
        ("weights", bytes_text(found.weight_bytes)),
        ("nodes", f"{found.nodes}, of them block-sparse {found.block_sparse}"),
        ("made by", f"onnxprune {made.version} {made.command}" if made else "not by onnxprune"),
    ]
    if made is not None:
        rows += [("budgets", made.budgets or "none"), ("source", made.source), ("recipe", made.recipe)]
        rows += [("before that", digest) for digest in reversed(made.lineage)]
    for name, value in rows:
        table.add_row(Text(name), Text(value, overflow="fold"))
    return table
