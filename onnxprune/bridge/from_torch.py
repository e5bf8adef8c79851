"""From an `nn.Module` of the user's to an ONNX model that has been compared with it.

An exporter can write a file that computes something else: tracing fixes what depends on values or on the number of
samples. So module and file run on the example inputs and on changed ones, where for each output, with y of the module
and ŷ of onnxruntime,

    max|y − ŷ| ≤ tolerance · max|y|
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from onnxprune.bridge.examples import BATCH, Dynamic, ExampleInputs, Examples, bind
from onnxprune.bridge.exporters import check_exporter, export
from onnxprune.bridge.flat_outputs import flat_outputs
from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import CertificateError, DataError, ModelError, UsageError
from onnxprune.core.events import EventHandler, Note, ignore_events
from onnxprune.graph.model import MAX_EMBEDDED_BYTES
from onnxprune.runtime import compare, make_session, run
from onnxprune.runtime.session import Session

__all__ = ["from_torch"]

_TOLERANCE = 1e-4
_NARROW = {torch.float16: 1e-2, torch.bfloat16: 8e-2}
"""Of modules that compute in fewer bits: about ten units in the last place of their largest outputs."""
_FIXED = "Tracing fixes what depends on values or sizes: try --exporter dynamo, rewrite that part, or fix the sizes."


def from_torch(
    module: nn.Module,
    example_inputs: ExampleInputs,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic: Dynamic | None = None,
    exporter: str = "torchscript",
    on_event: EventHandler = ignore_events,
) -> onnx.ModelProto:
    """Returns `module` in evaluation mode as an ONNX model that computes the same.

        model = from_torch(net, torch.zeros(1, 3, 32, 32), input_names=["image"], output_names=["logits"])

    The module, its modes and the state of random generators are left as they were.

    Args:
        module: A module whose `forward` takes tensors and gives tensors: one, or tuples, lists and mappings of them.
        example_inputs: A tensor or an array, several in the order of `forward`'s arguments, or a mapping from its
            arguments. Their values should be such as the module is meant for: outputs are compared on them.
        input_names: What the inputs are called, in the order of the arguments; by default as the arguments.
        output_names: What the outputs are called; by default "output", "output0" and "output1" ..., or the keys of the
            mapping that `forward` returns.
        dynamic: Input name → axis → name of a dimension that may have any size, such as
            {"tokens": {0: "batch", 1: "sequence"}}. None: the first axis is "batch"; {}: all sizes are fixed.
        exporter: "torchscript", which needs nothing beside torch, or "dynamo", which needs onnxscript
            (`pip install onnxprune[torch-export]`).
        on_event: Told what tracing fixed, and what could not be compared.

    Raises:
        UsageError: when it is no module, or the inputs or names do not fit it.
        DataError: when the module fails on its example inputs.
        ModelError: when it cannot be exported, or not as an ONNX file of at most 2 GB.
        CertificateError: when the exported model does not compute what the module does.
    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"Expected a torch.nn.Module, found {type(module).__name__}.")
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError("Expected the torch.nn.Module that was scripted or traced, found a ScriptModule.")
    chosen = check_exporter(exporter)
    examples = bind(module, example_inputs, input_names, dynamic)
    _check_size(module)
    with _in_evaluation(module):
        answers = _answers(module, examples)
        names = _output_names(answers, output_names, examples.names)
        # torch.export takes a dimension of one for a constant
        traced = examples.doubled(BATCH) if examples.dims.get(BATCH) == 1 else examples
        model = export(module, traced, names, chosen, on_event)
        _tell_unused(model, examples, on_event)
        _compare(_Pair(module, make_session(model, optimize=False), names), examples, answers, on_event)
    return model


@contextmanager
def _in_evaluation(module: nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode, and everything back afterwards."""
    training = [(part, part.training) for part in module.modules()]
    # a module may count its calls
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    fast, rounded = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.allow_tf32
    try:
        module.eval()
        torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer has no ONNX counterpart
        torch.backends.cudnn.allow_tf32 = False  # onnxruntime computes on the CPU, in full precision
        with torch.no_grad(), torch.random.fork_rng():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.cudnn.allow_tf32 = rounded
        for buffer, before in buffers:
            buffer.data.copy_(before)
        for part, mode in training:
            part.training = mode


def _check_size(module: nn.Module) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
    if size > MAX_EMBEDDED_BYTES:
        raise ModelError(
            f"The weights of {type(module).__name__} take {size / 1e9:.2f} GB, and an ONNX file without external data "
            "holds at most 2 GB. Export it with torch.onnx.export(..., external_data=True), and give the file."
        )


def _answers(module: nn.Module, examples: Examples) -> dict[str, Tensor]:
    """Returns what a module gives, under its own keys where it has any, else numbered.

    Raises:
        DataError: when it fails, or gives something that is no tensor.
    """
    try:
        by_position, by_name = examples.arguments_of(examples.copies)
        found = module(*by_position, **by_name)
    except Exception as error:
        shapes = ", ".join(
            f"{n} {list(v.shape)} {v.dtype}" for n, v in zip(examples.names, examples.values, strict=True)
        )
        raise DataError(
            f"{type(module).__name__} fails on {shapes}: {describe_exception(error)}. Give inputs that it takes."
        ) from error
    flat = list(flat_outputs(found, type(module).__name__))
    if not flat:
        raise DataError(f"{type(module).__name__} gives no tensor. An ONNX model needs an output.")
    if len(flat) == 1 and not flat[0][0]:
        return {"output": flat[0][1]}
    return {key or f"output{place}": value for place, (key, value) in enumerate(flat)}


def _output_names(
    answers: Mapping[str, Tensor], given: Sequence[str] | None, input_names: Sequence[str]
) -> tuple[str, ...]:
    names = tuple(given) if given is not None else tuple(answers)
    if len(names) != len(answers) or not all(names):
        raise UsageError(
            f"output_names {', '.join(names) or 'is empty'}: the module gives {len(answers)} outputs. Name each."
        )
    twice = [name for name in names if [*names, *input_names].count(name) > 1]
    if twice:
        raise UsageError(
            f"{twice[0]!r} would name two inputs or outputs. Give input_names and output_names that are all different."
        )
    return names


def _tell_unused(model: onnx.ModelProto, examples: Examples, on_event: EventHandler) -> None:
    known = {value.name for value in model.graph.input}
    unused = [name for name in examples.names if name not in known]
    if unused:
        on_event(Note(f"The module does not use {', '.join(unused)}; the model has no such input."))


@dataclass(frozen=True)
class _Pair:
    """A module and the session of its export, compared."""

    module: nn.Module
    session: Session
    names: tuple[str, ...]

    @property
    def tolerance(self) -> float:
        kinds = {tensor.dtype for tensor in self.module.parameters()}
        return max((_NARROW[kind] for kind in kinds if kind in _NARROW), default=_TOLERANCE)

    def check(self, examples: Examples, answers: Mapping[str, Tensor], when: str) -> None:
        """Compares both on `examples`.

        Raises:
            CertificateError: when they differ.
        """
        inputs = {value.name for value in self.session.get_inputs()}
        expected = dict(zip(self.names, (_array(value) for value in answers.values()), strict=True))
        try:
            found = run(self.session, {name: value for name, value in examples.feeds.items() if name in inputs})
        except ModelError as error:
            raise CertificateError(
                f"The exported model fails {when}, and {type(self.module).__name__} does not. {_FIXED} {error}"
            ) from error
        worst = max(compare(expected, found), key=lambda difference: difference.max_rel)
        if not worst.max_rel <= self.tolerance:
            shapes = f"{list(worst.reference_shape)} and {list(worst.other_shape)}"
            how = (
                f"by {worst.max_rel:.2g} of the largest value" if np.isfinite(worst.max_rel) else f"in shape, {shapes}"
            )
            raise CertificateError(
                f"The exported model does not compute what {type(self.module).__name__} does {when}: output "
                f"{worst.name!r} differs {how}. {_FIXED}"
            )


def _compare(pair: _Pair, examples: Examples, answers: Mapping[str, Tensor], on_event: EventHandler) -> None:
    """Compares on the example inputs, and with each dynamic dimension of another size.

    Raises:
        CertificateError: when they differ.
        DataError: when the module itself takes no other number of samples.
    """
    pair.check(examples, answers, "on the example inputs")
    for dim, size in examples.dims.items():
        if dim == BATCH:
            more = examples.doubled(dim)
            pair.check(more, _other_batch(pair.module, more), f"on {2 * size} samples")
        elif size > 1:
            fewer = examples.shortened(dim)
            try:
                other = _answers(pair.module, fewer)
            except DataError:
                on_event(Note(f"The module takes no {dim} of {size - 1}, so other sizes of {dim} were not compared."))
                continue
            pair.check(fewer, other, f"with a {dim} of {size - 1}")


def _other_batch(module: nn.Module, more: Examples) -> dict[str, Tensor]:
    try:
        return _answers(module, more)
    except DataError as error:
        raise DataError(
            f"With another number of samples than the example inputs have, the module fails. {error} Where it is meant "
            "for that number alone, give --fixed-batch (dynamic={} in Python)."
        ) from error


def _array(value: Tensor) -> Any:
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
