"""Weights as they are before any training, for a search that begins from scratch.

Conv, ConvTranspose             N(0, 2 / fan-in)   (He et al., ICCV 2015, section 2.2)
Gemm, MatMul and other matrices N(0, 1 / fan-in)
scales of normalisations        1
biases                          0
running mean and variance       0 and 1
all else, such as embeddings    normal with the mean and deviation of the trained tensor
"""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.roles import STATISTIC_SLOTS, readers, tensor_roles
from onnxprune.graph import Model

__all__ = ["fresh_weights"]

_SCALE_SLOTS = {
    "BatchNormalization": 1,
    "EmbedLayerNormalization": 5,
    "GroupNorm": 1,
    "GroupNormalization": 1,
    "InstanceNormalization": 1,
    "LayerNormalization": 1,
    "RMSNormalization": 1,
    "SimplifiedLayerNormalization": 1,
    "SkipGroupNorm": 1,
    "SkipLayerNormalization": 2,
    "SkipSimplifiedLayerNormalization": 2,
}
_KEPT = ("PRelu",)
Floats = NDArray[np.float64]


def fresh_weights(model: Model, seed: int) -> Model:
    """Returns a copy whose weights and running statistics know nothing of what was trained.

    Args:
        model: float32; what is no weight, such as bounds and tables, stays.
        seed: Draws them, the same for the same model.
    """
    fresh = model.copy()
    read_by = readers(fresh)
    rng = np.random.default_rng(seed)
    for name, role in tensor_roles(fresh).items():
        if role == "constant":
            continue
        value = np.asarray(fresh.read(name))
        drawn = _drawn(value.astype(np.float64), *read_by[name][0], rng)
        fresh.replace(name, drawn.astype(value.dtype))
    return fresh


def _drawn(value: Floats, node: gs.Node, slot: int, rng: np.random.Generator) -> Floats:
    op = node.op
    if op in _KEPT:
        return value
    if op == "BatchNormalization" and slot in STATISTIC_SLOTS:
        return np.full_like(value, float(slot == STATISTIC_SLOTS[1]))
    if slot == _SCALE_SLOTS.get(op):
        return np.ones_like(value)
    if op == "Conv" and slot == 1:
        return rng.standard_normal(value.shape) * math.sqrt(2 / max(1, math.prod(value.shape[1:])))
    if op == "ConvTranspose" and slot == 1:
        # every output sees the filters of all input channels, spread over the strides
        stride = math.prod(node.attrs.get("strides", [1]))
        fan_in = value.shape[0] // int(node.attrs.get("group", 1)) * math.prod(value.shape[2:]) / stride
        return rng.standard_normal(value.shape) * math.sqrt(2 / max(1.0, fan_in))
    if max(value.shape, default=1) == value.size:  # one number for each channel
        return np.full_like(value, float(op == "Mul"))
    if op in ("Gemm", "MatMul"):
        inner = value.shape[-1] if _reads_last(op, slot, node.attrs) else value.shape[-2]
        return rng.standard_normal(value.shape) * math.sqrt(1 / max(1, inner))
    drawn: Floats = float(value.mean()) + float(value.std()) * rng.standard_normal(value.shape)
    return drawn


def _reads_last(op: str, slot: int, attrs: dict[str, object]) -> bool:
    """Returns whether a matrix is summed over along its last axis."""
    if op == "MatMul":
        return slot == 0
    return bool(attrs.get("transA" if slot == 0 else "transB", 0)) == (slot == 1)
