"""Trained values back into the ONNX graph, by name."""

from __future__ import annotations

import numpy as np
import torch

from onnxprune.bridge.module import OnnxModule
from onnxprune.bridge.tensors import as_array
from onnxprune.core.errors import ModelError
from onnxprune.graph import Model, constants_to_initializers, narrow_values

__all__ = ["write_back"]


def write_back(module: OnnxModule, model: Model) -> None:
    """Writes the module's parameters and running statistics into the initializers of `model`.

    Element types stay those of `model`, and values are rounded to nearest: a module made of a
    float32 copy of a 16-bit model (`onnxprune.graph.for_training`) can be written into either.
    Names that `model` lacks are an error, initializers that the module does not train are left
    alone. Constant nodes become initializers, as the module may have trained them.

    Raises:
        ModelError: when a parameter has no initializer of its name and shape, or holds NaN,
            infinity, or a number too large for the element type.
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
        dtype = np.dtype(known[name].dtype)
        model.replace(name, narrow_values(as_array(tensor), dtype, name))
