"""add_biases: a bias of its own for every convolution that will be lent a normalisation.

Folding the normalisation back gives a convolution a bias. When pruning goes on after that, the
bias needs a place in the model that the plan speaks of, so it is there from the start, as zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.bridge import batchnorm_obstacle
from onnxprune.bridge.filters import output_channels
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.graph.edit import all_names, fresh_name
from onnxprune.ops.base import input_name

__all__ = ["AddBiases"]


@dataclass(frozen=True)
class AddBiases(Pass):
    """Edits "model"; computes the same."""

    name = "add_biases"
    needs = ("model",)
    edits = ("model",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Adds."""
        model = bench.take("model", Model).copy()
        names = all_names(model.graph)
        for node in model.nodes:
            if batchnorm_obstacle(model, node):
                continue
            bias = input_name(node, 2)
            shared = bias and sum(t.name == bias for other in model.nodes for t in other.inputs) > 1
            if bias and not shared:
                continue
            dtype = np.dtype(node.inputs[1].dtype)
            value = np.array(model.read(bias)) if bias else np.zeros(output_channels(node), dtype)
            own = gs.Constant(fresh_name(f"{node.outputs[0].name}__bias", names), value)
            if len(node.inputs) > 2:
                node.inputs[2] = own
            else:
                node.inputs.append(own)
        return {"model": model}
