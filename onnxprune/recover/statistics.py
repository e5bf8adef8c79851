"""BatchNormalization of a pruned net: running statistics taken anew, or its shift corrected.

    y = γ (x − μ) / √(σ² + ε) + β

After channels went, μ and σ² belong to another net. With those of the x that arrives, y has the
moments γ, β of training time again (`match` does the same to layers without normalisation).
The sweep comes by in graph order, so that each x comes from layers that are set right already.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.moments import ChannelMoments
from onnxprune.bridge.roles import STATISTIC_SLOTS, frozen_statistics, readers
from onnxprune.graph import Model
from onnxprune.ops.base import attribute
from onnxprune.recover.record import LayerRecovery
from onnxprune.recover.refit import EXACT, GAIN
from onnxprune.recover.sweep import Sweep

if TYPE_CHECKING:
    import torch

__all__ = ["find_norms", "restate", "shift"]

Float64 = NDArray[np.float64]


def find_norms(model: Model) -> list[gs.Node]:
    """Returns the BatchNormalization nodes that own their statistics and shift, and have a constant scale."""
    read_by = readers(model)
    return [
        node
        for node in model.nodes
        if node.op == "BatchNormalization"
        and not frozen_statistics(node, read_by)
        and len(read_by.get(node.inputs[2].name, ())) == 1
        and node.inputs[1].name in read_by
        and not attribute(node, "training_mode", 0)
    ]


def restate(sweep: Sweep, node: gs.Node) -> LayerRecovery:
    """Returns what came of new running statistics; the sweep has arrived at the node."""
    found = ChannelMoments()
    for i, tensor in enumerate(sweep.inputs(node.inputs[0].name)):
        if not sweep.held_out(i):
            found.add(tensor)
    before, _ = _missing(sweep, node)
    mean, var = (node.inputs[slot].name for slot in STATISTIC_SLOTS)
    kept = sweep.set({mean: found.mean, var: found.var})
    after, _ = _missing(sweep, node)
    return LayerRecovery(_label(node), before, after, kept, "running statistics taken anew")


def shift(sweep: Sweep, node: gs.Node) -> LayerRecovery:
    """Returns what came of correcting β by what the outputs' means miss; kept where held-out samples gain."""
    before, missing = _missing(sweep, node)
    if before <= EXACT:
        return LayerRecovery(_label(node), before, math.nan, False, "sees what the original sees")
    name = node.inputs[2].name
    old = sweep.read(name).astype(np.float64)
    changed = sweep.set({name: old + missing})
    after, _ = _missing(sweep, node)
    kept = changed and after < (1 - GAIN) * before
    if changed and not kept:
        sweep.set({name: old})
    reason = "bias corrected" if kept else "no gain on held-out samples"
    return LayerRecovery(_label(node), before, after, kept, reason)


def _missing(sweep: Sweep, node: gs.Node) -> tuple[float, Float64]:
    """The relative error on held-out samples, and the mean miss per channel on the others."""
    scale, bias, mean, var = (sweep.read(t.name).astype(np.float64) for t in node.inputs[1:5])
    factor = scale / np.sqrt(var + float(attribute(node, "epsilon", 1e-5)))
    miss, aims, errors = ChannelMoments(), ChannelMoments(), ChannelMoments()
    pairs = zip(sweep.inputs(node.inputs[0].name), sweep.targets(str(node.outputs[0].name)), strict=True)
    for i, (x, aim) in enumerate(pairs):
        left = aim.double() - _affine(x.double(), factor, bias - mean * factor)
        if sweep.held_out(i):
            errors.add(left.square())
            aims.add(aim)
        else:
            miss.add(left)
    return float(errors.mean.sum()) / max(float(aims.var.sum()), 1e-30), miss.mean


def _affine(x: torch.Tensor, factor: Float64, offset: Float64) -> torch.Tensor:
    shape = (1, -1, *[1] * (x.dim() - 2))
    return x * x.new_tensor(factor).reshape(shape) + x.new_tensor(offset).reshape(shape)


def _label(node: gs.Node) -> str:
    return str(node.name or node.outputs[0].name)
