"""`onnxprune import`: a PyTorch module as an ONNX file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from onnxprune.cli.options import output_options, start_logging
from onnxprune.cli.output import show
from onnxprune.cli.progress import show_progress

if TYPE_CHECKING:
    from onnxprune.pipeline import Imported

__all__ = ["import_module"]


@click.command("import", short_help="Write a PyTorch module as an ONNX file.")
@click.argument("factory", metavar="PKG.MOD:FACTORY")
@click.option("--input", "inputs", multiple=True, metavar="NAME=SHAPE[:DTYPE]",
              help="Such as image=1x3x32x32 or tokens=1x128:int64; one for each argument of forward.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where the file goes. [default: <FACTORY>.onnx]")
@click.option("--output-names", metavar="NAME[,NAME...]", help="What the outputs are called. [default: output]")
@click.option("--dynamic", multiple=True, metavar="NAME:AXIS=DIM",
              help="A dimension of any size beside the batch, such as tokens:1=sequence. May be repeated.")  # fmt: skip
@click.option("--fixed-batch", is_flag=True, help="Fix the number of samples to that of the inputs.")
@click.option("--weights", type=click.Path(path_type=Path), help="A safetensors file with the module's state_dict.")
@click.option("--exporter", default="torchscript", type=click.Choice(["torchscript", "dynamo"]),
              help="PyTorch's exporter; dynamo needs onnxprune[torch-export]. [default: torchscript]")  # fmt: skip
@output_options
def import_module(
    factory: str,
    inputs: tuple[str, ...],
    out: Path | None,
    output_names: str | None,
    dynamic: tuple[str, ...],
    fixed_batch: bool,
    weights: Path | None,
    exporter: str,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Calls FACTORY, exports the torch.nn.Module that it returns, and checks that the file computes the same.

    FACTORY takes no arguments; the current folder is on the import path. Module and file run in evaluation mode on
    random inputs, and again with another number of samples; where their outputs differ, nothing is written.
    """
    start_logging(verbose)
    # torch and onnxruntime are loaded when the command runs, not for `onnxprune --help`
    from onnxprune import pipeline

    with show_progress(quiet=quiet) as on_event:
        found = pipeline.import_module(
            factory,
            out or Path(f"{factory.rpartition(':')[2].rpartition('.')[2]}.onnx"),
            inputs,
            output_names=[name.strip() for name in output_names.split(",")] if output_names is not None else None,
            dynamic=dynamic,
            fixed_batch=fixed_batch,
            weights=weights,
            exporter=exporter,
            on_event=on_event,
        )
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        show(_table(found))


def _table(found: Imported) -> Table:
    from onnxprune.report.figures import bytes_text, count_text

    table = Table(title=Text(found.path, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, show_header=False,
                  pad_edge=False)  # fmt: skip
    rows = [("made from", found.module), ("operator set", str(found.opset))]
    rows += [("input", text) for text in _tensors(found.inputs)]
    rows += [("output", text) for text in _tensors(found.outputs)]
    rows += [("MACs per sample", count_text(found.macs)), ("parameters", count_text(found.params))]
    rows += [("weights", bytes_text(found.size_bytes))]
    for name, value in rows:
        table.add_row(Text(name), Text(value, overflow="fold"))
    return table


def _tensors(tensors: Mapping[str, tuple[str, tuple[int | str, ...]]]) -> list[str]:
    return [f"{name}: {dtype} [{', '.join(map(str, shape))}]" for name, (dtype, shape) in tensors.items()]
