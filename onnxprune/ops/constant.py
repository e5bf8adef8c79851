"""Constant: a value in the node itself. Most become initializers; one that is a graph output stays a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext
from onnxprune.ops.identity import tensor_of
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["Constant"]

_TYPES = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@register_twin
class Constant(Twin):
    """The value."""

    names = ("Constant",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        name, value = next(iter(node.attrs.items()))
        array = value.values if isinstance(value, gs.Constant) else np.array(value, dtype=_TYPES[name])
        tensor = tensor_of(array)
        return lambda: tensor
