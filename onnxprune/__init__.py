"""Prunes trained ONNX models to a budget, retrains them from the original, and proves the result.

    import onnxprune

    onnxprune.inspect("resnet.onnx")                                   # what can go, what cannot, and why
    onnxprune.compress("resnet.onnx", flops=0.4, data="train.npz")     # writes resnet.slim.onnx
    onnxprune.plan("resnet.onnx", flops=0.4, out="plan.json")          # decides what would go, and stops there
    onnxprune.apply("resnet.onnx", "plan.json", data="train.npz")      # carries a plan out, then as compress
    onnxprune.retrain("slim.onnx", "resnet.onnx", data="train.npz")    # trains a model as it is
    onnxprune.validate("resnet.onnx", "resnet.slim.onnx")              # parity and latency
    onnxprune.bench(("resnet.onnx", "resnet.slim.onnx"), batch=(1, 8)) # latency alone, in depth

Importing this package is cheap: torch, onnx and onnxruntime are loaded by the first call that
needs them. `onnxprune.bridge` and `onnxprune.kernels` are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from onnxprune.calls.cutting import apply, compress, plan
from onnxprune.calls.judging import bench, inspect, validate
from onnxprune.calls.training import retrain
from onnxprune.core.errors import OnnxPruneError

__all__ = ["OnnxPruneError", "__version__", "apply", "bench", "compress", "inspect", "plan", "retrain", "validate"]

__version__ = "0.1.0"
_LAZY = ("bridge", "kernels")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"onnxprune.{name}")
    raise AttributeError(f"module 'onnxprune' has no attribute {name!r}")
