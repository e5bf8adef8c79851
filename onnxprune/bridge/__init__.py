"""ONNX graphs as trainable PyTorch modules, and their weights back.

`to_torch` gives an `nn.Module` whose parameters carry the initializers' names;
`masked_parameters` drops channels without touching it; `insert_batchnorm`, `reestimate` and
`fold_batchnorm` lend a folded network its normalisation for retraining; `write_back` returns
the trained values. `from_torch` goes the other way: a module of the user's as an ONNX model.
"""

from __future__ import annotations

from onnxprune.bridge.batchnorm import BatchNorm, batchnorm_obstacle, insert_batchnorm
from onnxprune.bridge.build import to_torch
from onnxprune.bridge.fold import fold_batchnorm
from onnxprune.bridge.from_torch import from_torch
from onnxprune.bridge.masks import masked_parameters
from onnxprune.bridge.module import OnnxModule
from onnxprune.bridge.moments import moments
from onnxprune.bridge.predict import predict
from onnxprune.bridge.reestimate import reestimate
from onnxprune.bridge.write_back import write_back

__all__ = [
    "BatchNorm",
    "OnnxModule",
    "batchnorm_obstacle",
    "fold_batchnorm",
    "from_torch",
    "insert_batchnorm",
    "masked_parameters",
    "moments",
    "predict",
    "reestimate",
    "to_torch",
    "write_back",
]
