"""From a function that builds a PyTorch module to an ONNX file that computes the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from onnxprune.bridge import from_torch
from onnxprune.bridge.foreign import DTYPES, Module, draw, is_module, load_state
from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import DataError, UsageError
from onnxprune.core.events import EventHandler, Note, ignore_events
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model, TensorSpec, save_model
from onnxprune.passes.count_original import recount
from onnxprune.passes.import_model import ImportModel
from onnxprune.pipeline.words import check_place
from onnxprune.runtime import find_feeds, stand_in
from onnxprune.train.custom import load_callable

__all__ = ["Imported", "import_module"]

_INPUT = re.compile(r"(?P<name>[^=]+)=(?P<shape>\d+(x\d+)*)(:(?P<dtype>\w+))?")
_DIM = re.compile(r"(?P<name>.+):(?P<axis>-?\d+)=(?P<dim>\w+)")
_SEED = 0


@dataclass(frozen=True)
class Imported:
    """A module that was written as an ONNX file.

    Attributes:
        path: The file.
        module: Type of the module.
        inputs: Input name → (dtype, shape); a dynamic dimension by its name.
        outputs: Output name → the same.
        opset: Version of the standard operator set.
        macs: Multiply-accumulates of one input sample.
        params: Number of parameters.
        size_bytes: Bytes of weights.
        notes: What was noticed on the way.
    """

    path: str
    module: str
    inputs: Mapping[str, tuple[str, tuple[int | str, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int | str, ...]]]
    opset: int
    macs: float
    params: float
    size_bytes: int
    notes: tuple[str, ...] = ()


def import_module(
    factory: str,
    out: Path,
    inputs: Sequence[str],
    *,
    output_names: Sequence[str] | None = None,
    dynamic: Sequence[str] = (),
    fixed_batch: bool = False,
    weights: Path | None = None,
    exporter: str = "torchscript",
    on_event: EventHandler = ignore_events,
) -> Imported:
    """Returns what was written to `out`: the module that `factory` gives, in evaluation mode.

    Args:
        factory: `pkg.mod:name` of a function that takes nothing and returns a torch.nn.Module, of a class of modules,
            or of a module.
        out: Where the ONNX file goes.
        inputs: "name=1x3x32x32" or "name=1x128:int64" for each argument of `forward`, in order. Floats are drawn from
            the standard normal distribution, whole numbers and truth values from 0 and 1, with a fixed seed.
        output_names: What the outputs are called, or None.
        dynamic: "name:1=sequence" for each dimension beside the batch that may have any size.
        fixed_batch: Whether the number of samples is fixed to that of `inputs`.
        weights: A safetensors file with the module's state_dict, loaded first.
        exporter: As in `from_torch`.
        on_event: Called with progress.

    Raises:
        OnnxPruneError: when the module cannot be built, loaded, exported or written; nothing is written then.
    """
    check_place(out)
    shapes = _shapes(inputs)
    module = _build(factory)
    if weights is not None:
        load_state(module, weights)
    bench = Bench(on_event=on_event)
    proto = from_torch(
        module,
        tuple(draw(*shape, _SEED) for shape in shapes.values()),
        input_names=tuple(shapes),
        output_names=output_names,
        dynamic=_dynamic(shapes, dynamic, fixed_batch),
        exporter=exporter,
        on_event=lambda event: bench.note(event.text) if isinstance(event, Note) else on_event(event),
    )
    return _written(proto, out, type(module).__name__, bench)


def _written(proto: onnx.ModelProto, out: Path, kind: str, bench: Bench) -> Imported:
    run_passes([ImportModel(proto)], bench)
    model = bench.take("original", Model)
    runnable = stand_in(model).model
    bench.artifacts["feeds"] = find_feeds(runnable, runnable.inputs(), rng=np.random.default_rng(_SEED))
    costs = recount(bench, model)
    save_model(model, out, external=False)
    return Imported(
        path=str(out),
        module=kind,
        inputs={spec.name: _spec(spec) for spec in model.inputs()},
        outputs={spec.name: _spec(spec) for spec in model.outputs()},
        opset=model.opset,
        macs=costs["flops"],
        params=costs["params"],
        size_bytes=round(costs["size"]),
        notes=tuple(bench.notes),
    )


def _spec(spec: TensorSpec) -> tuple[str, tuple[int | str, ...]]:
    kind = spec.dtype.name if spec.dtype is not None else "?"
    return kind, tuple("?" if d is None else d for d in spec.shape or ())


def _shapes(inputs: Sequence[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns input name → shape and dtype.

    Raises:
        UsageError: when a text does not say them.
    """
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for text in inputs:
        match = _INPUT.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"--input {text}: expected NAME=SHAPE or NAME=SHAPE:DTYPE, such as image=1x3x32x32:float32."
            )
        name, dtype = match["name"], match["dtype"] or "float32"
        if dtype not in DTYPES:
            raise UsageError(f"--input {text}: there is no dtype {dtype!r}. Known: {', '.join(DTYPES)}.")
        shape = tuple(int(size) for size in match["shape"].split("x"))
        if not math.prod(shape):
            raise UsageError(f"--input {text}: a dimension of 0 leaves nothing to run the module on.")
        if name in found:
            raise UsageError(f"--input {text}: {name!r} is given twice. Each input has a name of its own.")
        found[name] = (shape, dtype)
    if not found:
        raise UsageError("--input is missing. Give one for each argument of forward, such as --input image=1x3x32x32.")
    return found


def _dynamic(
    shapes: Mapping[str, tuple[tuple[int, ...], str]], given: Sequence[str], fixed_batch: bool
) -> dict[str, dict[int, str]] | None:
    """Returns input name → axis → name of the dimension; None for the batch alone."""
    if not given:
        return {} if fixed_batch else None
    first = next(iter(shapes.values()))[0][0]
    found: dict[str, dict[int, str]] = {}
    if not fixed_batch:
        found = {name: {0: "batch"} for name, (shape, _) in shapes.items() if shape[0] == first}
    for text in given:
        match = _DIM.fullmatch(text)
        if match is None:
            raise UsageError(f"--dynamic {text}: expected NAME:AXIS=DIMENSION, such as tokens:1=sequence.")
        found.setdefault(match["name"], {})[int(match["axis"])] = match["dim"]
    return found


def _build(factory: str) -> Module:
    """Returns the module that `factory` names or gives.

    Raises:
        UsageError: when there is no such name.
        DataError: when it fails, or gives no module.
    """
    found = load_callable(factory, "factory")
    if is_module(found):
        return found
    try:
        module = found()
    except Exception as error:
        raise DataError(
            f"factory = {factory!r} failed when it was called without arguments: {describe_exception(error)}."
        ) from error
    if not is_module(module):
        raise DataError(
            f"factory = {factory!r} returned a {type(module).__name__}; expected a torch.nn.Module. Name a function "
            "that builds the module and returns it."
        )
    return module
