"""`onnxprune build-ops`: the kernels of the block-sparse operators, compiled on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from onnxprune.cli.options import json_option

__all__ = ["build_ops"]


@click.command("build-ops", short_help="Compile the kernels of block-sparse operators.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Where the library goes. [default: the user's cache]"
)
@json_option
def build_ops(out: Path | None, as_json: bool) -> None:
    """Compiles the kernels of the block-sparse operators with g++, or $CXX.

    Only needed where no compiler was there when onnxprune was installed. Models with block-sparse operators run
    without the kernels too, but slower.
    """
    # onnx is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.kernels import available, build

    found = available(build(out))
    if as_json:
        click.echo(json.dumps({"library": str(found.library), "isa": found.isa, "reason": found.reason}, indent=1))
    else:
        click.echo(f"{found.library} ({found.isa})" if found else f"{found.library}: {found.reason}")
