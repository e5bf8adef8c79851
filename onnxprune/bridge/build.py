"""From an ONNX model in any form to an `nn.Module`."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from onnxprune.bridge.module import OnnxModule
from onnxprune.graph import Model, load_model

__all__ = ["to_torch"]


def to_torch(model: Model | onnx.ModelProto | str | os.PathLike[str]) -> OnnxModule:
    """Returns `model` as a trainable PyTorch module, in evaluation mode.

        net = to_torch("resnet.onnx")
        logits = net(images)                       # by position, or net(image=images)
        dict(net.named_parameters())["fc.weight"]  # the initializer's name

    Args:
        model: A path, a ModelProto, or a loaded Model (which is copied).

    Raises:
        ModelError: when the model cannot be read, a node has no PyTorch counterpart, or a
            tensor has an element type that PyTorch lacks.
    """
    if isinstance(model, Model):
        loaded = model
    else:
        loaded = load_model(model if isinstance(model, onnx.ModelProto) else Path(model))
    module = OnnxModule(loaded)
    module.eval()
    return module
