"""How far a net's outputs are from those of the original, as one number per run.

For an output z [batch, classes] it is the divergence of the class probabilities,
KL(softmax z_original ‖ softmax z), for one that holds probabilities that of the values
themselves; for any other float output the squared error over the original's variance. Outputs
of several kinds add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.graph import Model

__all__ = ["output_error", "output_producers"]

Float64 = NDArray[np.float64]
_SMALLEST = 1e-12


def output_producers(model: Model) -> dict[str, str]:
    """Returns output name → the operator that computes it, or "" for one that no node computes."""
    found = {spec.name: "" for spec in model.outputs()}
    for node in model.nodes:
        for tensor in node.outputs:
            if tensor.name in found:
                found[tensor.name] = str(node.op)
    return found


def output_error(
    producers: Mapping[str, str], original: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]
) -> float:
    """Returns the error of the outputs `found`, 0 where they equal those of the original.

    Args:
        producers: Output name → operator type, in the order of the outputs.
        original: The original's outputs over all samples.
        found: Those of the other net.

    Returns:
        A sum over the float outputs; infinity where `found` is not finite.
    """
    total = 0.0
    for producer, aim, value in zip(producers.values(), original, found, strict=True):
        if not np.issubdtype(np.asarray(aim).dtype, np.floating):
            continue
        a, b = np.asarray(aim, np.float64), np.asarray(value, np.float64)
        if not np.isfinite(b).all():
            return float("inf")
        classes = a.ndim == 2 and a.shape[1] > 1 and producer != "Sigmoid"
        total += _divergence(a, b, producer == "Softmax") if classes else _relative(a, b)
    return total


def _divergence(a: Float64, b: Float64, probabilities: bool) -> float:
    log_p, log_q = (_log_probabilities(z, probabilities) for z in (a, b))
    return float((np.exp(log_p) * (log_p - log_q)).sum(1).mean())


def _log_probabilities(z: Float64, probabilities: bool) -> Float64:
    scores = np.log(np.maximum(z, _SMALLEST)) if probabilities else z
    shifted = scores - scores.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def _relative(a: Float64, b: Float64) -> float:
    return float(np.square(b - a).mean() / max(float(np.var(a)), _SMALLEST))
