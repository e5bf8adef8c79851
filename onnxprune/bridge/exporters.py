"""PyTorch's two exporters, behind one call.

"torchscript" traces the module and needs nothing beside torch. "dynamo" captures it by `torch.export`, which refuses
what depends on values instead of fixing it, and needs the package onnxscript.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import onnx
import torch
from torch import Tensor, nn

from onnxprune.bridge.examples import Examples
from onnxprune.bridge.flat_outputs import flat_outputs
from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import ModelError, UsageError
from onnxprune.core.events import EventHandler, Note

__all__ = ["EXPORTERS", "Exporter", "check_exporter", "export"]

Exporter = Literal["torchscript", "dynamo"]
EXPORTERS: tuple[Exporter, ...] = get_args(Exporter)
_TORCHSCRIPT_OPSET = 17
"""The newest that it writes without converting, with LayerNormalization as one operator."""
_DUMP = "_jit_onnx_log"


def check_exporter(name: str) -> Exporter:
    """Returns the exporter of that name.

    Raises:
        UsageError: when there is none, or a package that it needs is missing.
    """
    found = next((known for known in EXPORTERS if known == name), None)
    if found is None:
        raise UsageError(f"--exporter {name}: expected {' or '.join(EXPORTERS)}.")
    if found == "dynamo" and not _has_onnxscript():
        raise UsageError(
            "--exporter dynamo needs the package onnxscript, which is not installed. Run "
            "pip install 'onnxprune[torch-export]', or take --exporter torchscript, which needs nothing beside torch."
        )
    return found


def _has_onnxscript() -> bool:
    try:
        return importlib.util.find_spec("onnxscript") is not None
    except ValueError:  # an entry of sys.modules without a spec
        return False


def export(
    module: nn.Module, examples: Examples, output_names: Sequence[str], exporter: Exporter, on_event: EventHandler
) -> onnx.ModelProto:
    """Returns a module in evaluation mode as an ONNX model.

    Args:
        module: The module.
        examples: What it is called with.
        output_names: Names of its outputs.
        exporter: Which exporter writes it.
        on_event: Told what tracing fixed.

    Raises:
        ModelError: when the exporter cannot write it.
    """
    write = _by_torchscript if exporter == "torchscript" else _by_dynamo
    other = next(name for name in EXPORTERS if name != exporter)
    with (
        tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch,
        _by_position(module, examples),
        _quiet() as caught,
    ):
        path = Path(scratch) / "model.onnx"
        try:
            write(module, examples, output_names, path)
        except Exception as error:
            raise ModelError(
                f"PyTorch's exporter ({exporter}) cannot write {type(module).__name__}: "
                f"{describe_exception(_root(error))}. "
                f"Try --exporter {other}, or rewrite the part of the module that is named."
            ) from error
        model = onnx.load(path)
    _tell_fixed(caught, on_event)
    return model


def _root(error: BaseException) -> BaseException:
    """Returns what an exception came from in the end: what lies above tells how to report it to PyTorch."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _by_torchscript(module: nn.Module, examples: Examples, output_names: Sequence[str], path: Path) -> None:
    torch.onnx.export(
        module,
        examples.copies,
        str(path),
        dynamo=False,
        opset_version=_TORCHSCRIPT_OPSET,
        input_names=list(examples.names),
        output_names=list(output_names),
        dynamic_axes={name: dict(axes) for name, axes in examples.dynamic.items()},
    )


def _by_dynamo(module: nn.Module, examples: Examples, output_names: Sequence[str], path: Path) -> None:
    shapes = tuple(dict(examples.dynamic.get(name, {})) for name in examples.names)
    torch.onnx.export(
        module,
        examples.copies,
        path,
        dynamo=True,
        input_names=list(examples.names),
        output_names=list(output_names),
        dynamic_shapes=(shapes,),  # one argument, which takes them all
        external_data=False,
        verbose=False,
    )


@contextlib.contextmanager
def _by_position(module: nn.Module, examples: Examples) -> Iterator[None]:
    """Has a module take all inputs by position and give a tuple: mappings and names are not for every exporter.

    A module around it would do the same, and every weight would change its name.
    """
    forward = module.forward

    def flat(*values: Tensor) -> tuple[Tensor, ...]:
        by_position, by_name = examples.arguments_of(values)
        found: Any = forward(*by_position, **by_name)
        return tuple(value for _, value in flat_outputs(found, type(module).__name__))

    own = vars(module).get("forward")
    module.forward = flat
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@contextlib.contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Collects warnings while the block lasts, and keeps torch from printing, and from logging its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    # writes the graph at which tracing gave up to the process's stdout, whatever verbosity was asked for
    dump = getattr(torch._C, _DUMP, None)
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if dump is not None:
                setattr(torch._C, _DUMP, lambda *_: None)
            yield caught
    finally:
        logger.setLevel(level)
        if dump is not None:
            setattr(torch._C, _DUMP, dump)


def _tell_fixed(caught: Sequence[warnings.WarningMessage], on_event: EventHandler) -> None:
    """Tells where tracing took a value of the example inputs for all there will be; torch's own checks aside."""
    library = Path(torch.__file__).parent
    places = [
        f"{Path(warning.filename).name}, line {warning.lineno}"
        for warning in caught
        if warning.category.__name__ == "TracerWarning" and library not in Path(warning.filename).parents
    ]
    if places:
        on_event(
            Note(
                "Tracing took a value that the module computes in Python for a constant, which holds as long as inputs "
                f"lead to the same value: {'; '.join(dict.fromkeys(places))}."
            )
        )
