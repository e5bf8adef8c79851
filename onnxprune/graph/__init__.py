"""ONNX models in and out: GraphSurgeon graphs with their weights out of line."""

from onnxprune.graph.cut import Cut, cut_at
from onnxprune.graph.derived import shape_derived
from onnxprune.graph.fold import (
    constant_frontier,
    constant_tensors,
    constants_to_initializers,
    fold_values,
    unshare_vectors,
)
from onnxprune.graph.header import Header
from onnxprune.graph.load import check_finite, load_model
from onnxprune.graph.model import Model, TensorSpec
from onnxprune.graph.save import save_model
from onnxprune.graph.staging import Staging

__all__ = [
    "Cut",
    "Header",
    "Model",
    "Staging",
    "TensorSpec",
    "check_finite",
    "constant_frontier",
    "constant_tensors",
    "constants_to_initializers",
    "cut_at",
    "fold_values",
    "load_model",
    "save_model",
    "shape_derived",
    "unshare_vectors",
]
