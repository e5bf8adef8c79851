"""Modules of the user's where a model is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxprune.bridge import from_torch
from onnxprune.bridge.foreign import is_module
from onnxprune.core.errors import UsageError
from onnxprune.core.events import EventHandler

__all__ = ["exported"]


def exported(
    model: Any,
    example_inputs: Any,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    on_event: EventHandler,
) -> Any:
    """Returns a torch.nn.Module as an ONNX model in memory, and anything else as it is.

    Args:
        model: What a caller gave for a model.
        example_inputs: What the module is called with (`onnxprune.bridge.from_torch`); None where it is no module.
        input_names: What its inputs are called, or None.
        output_names: What its outputs are called, or None.
        on_event: Called with progress.

    Raises:
        UsageError: when a module comes without example inputs, or these come without a module.
        OnnxPruneError: when the module cannot be exported.
    """
    options: Mapping[str, Any] = {
        "example_inputs": example_inputs,
        "input_names": input_names,
        "output_names": output_names,
    }
    given = [name for name, value in options.items() if value is not None]
    if not is_module(model):
        if given:
            raise UsageError(f"{given[0]} belongs to a torch.nn.Module; the model is a {type(model).__name__}.")
        return model
    if example_inputs is None:
        raise UsageError(
            f"{type(model).__name__} is a torch.nn.Module, which is exported to ONNX first: give example_inputs, what "
            "it is called with."
        )
    return from_torch(model, example_inputs, input_names=input_names, output_names=output_names, on_event=on_event)
