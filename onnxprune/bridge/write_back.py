"""Trained values back into the ONNX graph, by name."""

from __future__ import annotations

import numpy as np
import torch

from onnxprune.bridge.module import OnnxModule
from onnxprune.bridge.tensors import as_array
from onnxprune.core.errors import ModelError
from onnxprune.graph import Model, constants_to_initializers

__all__ = ["write_back"]


def write_back(module: OnnxModule, model: Model) -> None:
    """Writes the module's parameters and running statistics into the initializers of `model`.

    Element types stay those of `model`; names that it lacks are an error, initializers that
    the module does not train are left alone. Constant nodes become initializers, as the module
    may have trained them.

    Raises:
        ModelError: when a parameter has no initializer of its name and shape, or holds NaN
            or infinity.
    """
    constants_to_initializers(model)
    known = model.initializers()
    for name, tensor in module.state_dict().items():
        if name not in known:
            raise ModelError(
                f"Parameter {name!r} has no initializer of that name in the model. Write back into the model that "
                "the module was made from."
            )
        shape = tuple(int(size) for size in known[name].shape)
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"Parameter {name!r} has shape {tuple(tensor.shape)}, its initializer has {shape}. Write back into "
                "the model that the module was made from."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"Parameter {name!r} holds NaN or infinity after training. Lower --lr and run again.")
        model.replace(name, as_array(tensor, np.dtype(known[name].dtype)))
