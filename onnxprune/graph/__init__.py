"""ONNX models in and out: GraphSurgeon graphs with their weights out of line."""

from onnxprune.graph.cut import Cut, cut_at
from onnxprune.graph.data_file import DataFile
from onnxprune.graph.derived import shape_derived
from onnxprune.graph.derived_values import keep_values, overwrite_values
from onnxprune.graph.fold import (
    constant_frontier,
    constant_tensors,
    constants_to_initializers,
    fold_values,
    unshare_vectors,
)
from onnxprune.graph.header import Header
from onnxprune.graph.inline import inline_branches
from onnxprune.graph.load import check_finite, load_model
from onnxprune.graph.model import Model, TensorSpec
from onnxprune.graph.quantised import is_weight, read_real
from onnxprune.graph.save import save_model
from onnxprune.graph.skeleton import Skeleton
from onnxprune.graph.staging import Staging
from onnxprune.graph.widen import for_training, narrow_values, narrowed_back, widened

__all__ = [
    "Cut",
    "DataFile",
    "Header",
    "Model",
    "Skeleton",
    "Staging",
    "TensorSpec",
    "check_finite",
    "constant_frontier",
    "constant_tensors",
    "constants_to_initializers",
    "cut_at",
    "fold_values",
    "for_training",
    "inline_branches",
    "is_weight",
    "keep_values",
    "load_model",
    "narrow_values",
    "narrowed_back",
    "overwrite_values",
    "read_real",
    "save_model",
    "shape_derived",
    "unshare_vectors",
    "widened",
]
