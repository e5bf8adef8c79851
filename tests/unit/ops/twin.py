"""Comparing a model's PyTorch counterpart with onnxruntime, for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from onnxprune.bridge import predict, to_torch
from onnxprune.graph import load_model
from onnxprune.runtime import make_session, run


def with_constants(model: onnx.ModelProto, constants: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Returns `model` with the named inputs turned into initializers of the given values."""
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    onnx.checker.check_model(model)
    return model


def twin_error(model: onnx.ModelProto, batch: int = 2, seed: int = 0, largest: int = 2) -> float:
    """Returns max |PyTorch − onnxruntime| / max |onnxruntime| over all outputs.

    Args:
        model: The model; free dimensions of its inputs become `batch`.
        batch: Size of those dimensions.
        seed: Draws the inputs.
        largest: Integer inputs lie below it.
    """
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        shape = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        floating = np.issubdtype(dtype, np.floating)
        feeds[value.name] = (rng.standard_normal(shape) if floating else rng.integers(0, largest, shape)).astype(dtype)
    expected = run(make_session(model, optimize=False, threads=1), feeds)
    found = predict(to_torch(load_model(model)), feeds)
    worst = 0.0
    for name, reference in expected.items():
        assert found[name].shape == reference.shape
        gap = np.abs(found[name].astype(np.float64) - reference.astype(np.float64)).max()
        worst = max(worst, float(gap) / (float(np.abs(reference).max()) + 1e-9))
    return worst
