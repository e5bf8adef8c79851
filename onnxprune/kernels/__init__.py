"""Block-sparse operators for onnxruntime: their bodies in standard operators, and kernels that are faster.

node = kernels.matmul_node(["x", "w", "index", "b"], "y", block_k=16, in_features=768, out_features=3072)
kernels.attach(model)            # the file now runs in any onnxruntime
options = onnxruntime.SessionOptions()
kernels.register(options)        # and in this session by the kernels; on CUDA, name providers and model too
"""

from __future__ import annotations

from onnxprune.kernels.activation import ACTIVATIONS, Activation, ActivationName
from onnxprune.kernels.attach import attach, functions
from onnxprune.kernels.compilation import BuildError, build
from onnxprune.kernels.cuda import CudaState, cuda_obstacle, cuda_state
from onnxprune.kernels.library import Availability, KernelsMissing, available, available_for, register
from onnxprune.kernels.nodes import DOMAIN, VERSION, Window, conv_node, matmul_node

__all__ = [
    "ACTIVATIONS",
    "DOMAIN",
    "VERSION",
    "Activation",
    "ActivationName",
    "Availability",
    "BuildError",
    "CudaState",
    "KernelsMissing",
    "Window",
    "attach",
    "available",
    "available_for",
    "build",
    "conv_node",
    "cuda_obstacle",
    "cuda_state",
    "functions",
    "matmul_node",
    "register",
]
