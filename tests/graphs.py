"""Small models for tests, written in ONNX text.

In the text, every graph input that is not named in `data` becomes an initializer with random
values: no zero biases, no unit scales, so that nothing is right by accident.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

HEAD = '<ir_version: 8, opset_import: ["" : {opset}]>\n'


def model_of(text: str, data: Sequence[str] = ("x",), *, opset: int = 18, seed: int = 0) -> onnx.ModelProto:
    """Returns the model of a graph in ONNX text.

    Args:
        text: `name (inputs) => (outputs) { nodes }`.
        data: Names of the inputs that stay inputs.
        opset: Version of the default operator set.
        seed: Seed of the weights.
    """
    model = onnx.parser.parse_model(HEAD.format(opset=opset) + text)
    rng = np.random.default_rng(seed)
    weights = [value for value in model.graph.input if value.name not in data]
    for value in weights:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        fan = max(1, int(np.prod(shape[1:])))
        array = rng.uniform(-1, 1, shape) * np.sqrt(3 / fan) if len(shape) > 1 else rng.uniform(0.3, 1.3, shape)
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), value.name))
        model.graph.input.remove(value)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{index}"
    onnx.checker.check_model(model)
    return model
