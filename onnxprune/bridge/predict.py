"""Outputs of a module as arrays by name, as onnxruntime gives them."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from onnxprune.bridge.module import OnnxModule
from onnxprune.bridge.moments import InputBatch, feed

__all__ = ["predict"]


def predict(module: OnnxModule, inputs: InputBatch) -> dict[str, NDArray[Any]]:
    """Returns output name → array, evaluated as at inference; the module's mode is left as it was.

    Args:
        module: The module.
        inputs: Input name → array.
    """
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            outputs = module.call_with({}, feed(module, inputs))
    finally:
        module.train(training)
    values = outputs if isinstance(outputs, tuple) else (outputs,)
    return {name: value.cpu().numpy() for name, value in zip(module.output_names, values, strict=True)}
