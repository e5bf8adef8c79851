"""The stages of a recovery, each kept only where the net's outputs gain.

Every method is one sweep over the net as the stage before left it. Its changes stay where the
outputs on held-out samples come closer to the original's; else the whole stage is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.linear import LinearLayer, find_layers
from onnxprune.core.errors import DataError
from onnxprune.graph import Model, constants_to_initializers
from onnxprune.recover.match import match
from onnxprune.recover.options import Method, RecoverOptions
from onnxprune.recover.record import LayerRecovery, RecoveryRecord, StageRecovery
from onnxprune.recover.refit import GAIN, refit
from onnxprune.recover.statistics import find_norms, restate, shift
from onnxprune.recover.sweep import Calibration, Cuts, Sweep

__all__ = ["WeightMasks", "recover"]

WeightMasks = Mapping[str, NDArray[np.bool_]]
_NO_MASKS: WeightMasks = {}


@dataclass(frozen=True)
class _Site:
    """A place where a sweep stops: in front of a linear layer or a normalisation.

    Attributes:
        output: What the node gives.
        aims: What the original is asked for.
        what: The layer, or the BatchNormalization node.
    """

    output: str
    aims: tuple[str, ...]
    what: LinearLayer | gs.Node


def recover(
    model: Model,
    slim: Model,
    calibration: Calibration,
    cuts: Cuts,
    options: RecoverOptions,
    masks: WeightMasks = _NO_MASKS,
) -> tuple[Model, RecoveryRecord]:
    """Returns the pruned model with weights set right, and what was done.

    Args:
        model: The original.
        slim: The pruned model, tensors named as in the original; not changed.
        calibration: Samples; at least one batch to fit and one held out.
        cuts: What each tensor of the original lost.
        options: Methods and limits.
        masks: Weight → which of its entries may be other than zero, bool, to be broadcast over it; all of a weight
            that is absent.

    Raises:
        DataError: when there are too few batches.
        ModelError: when a node has no PyTorch counterpart.
    """
    sizes = calibration.sizes()
    if not 0 < calibration.fit < len(sizes):
        raise DataError(
            f"Recovery needs at least two batches of calibration samples, one of them held out; found {len(sizes)}, "
            f"{calibration.fit} of them to fit. Give more samples."
        )
    current = slim.copy()
    constants_to_initializers(current)
    skipped = find_layers(current)[1]
    held_out = Calibration(calibration.batches[calibration.fit :], 0)
    start = error = Sweep(model, current, held_out, cuts, ()).error()
    stages: list[StageRecovery] = []
    for method in options.methods:
        stage, changed = _run(method, model, current, calibration, cuts, options, masks, error)
        stages.append(stage)
        if stage.kept:
            error = stage.error_after
            for name, value in changed.items():
                current.replace(name, value)
    fitted = sum(sizes[: calibration.fit])
    record = RecoveryRecord(fitted, sum(sizes) - fitted, start, error, tuple(stages), tuple(sorted(skipped.items())))
    return current if any(stage.kept for stage in stages) else slim, record


def _run(
    method: Method,
    model: Model,
    slim: Model,
    calibration: Calibration,
    cuts: Cuts,
    options: RecoverOptions,
    masks: WeightMasks,
    before: float,
) -> tuple[StageRecovery, Mapping[str, NDArray[Any]]]:
    """One stage: its record, and the initializers that it changes."""
    begun = time.perf_counter()
    sites = _sites(method, model, slim)
    sweep = Sweep(model, slim, calibration, cuts, [aim for site in sites for aim in site.aims])
    rng = np.random.default_rng(options.seed)
    layers = []
    for site in sites:
        sweep.arrive(site.output, site.aims)
        layers.append(_visit(method, sweep, site, options, rng, masks))
        sweep.leave(site.aims)
    if not any(layer.kept for layer in layers):
        after, reason = before, "no layer gained"
    else:
        after = sweep.error()
        reason = "" if after < (1 - GAIN) * before else "the outputs on held-out samples did not gain"
    seconds = time.perf_counter() - begun
    return StageRecovery(method, before, after, not reason, reason, seconds, tuple(layers)), sweep.changed


def _sites(method: Method, model: Model, slim: Model) -> list[_Site]:
    """Where a method's sweep stops, in graph order: at what the original computes, too."""
    layers, norms = find_layers(slim)[0], find_norms(slim)
    if method == "least_squares":
        norms = []
    else:
        # what a normalisation follows is set right by it
        covered = {node.inputs[0].name for node in norms}
        layers = [layer for layer in layers if layer.own_bias and layer.plain not in covered]
    order = {tensor.name: i for i, node in enumerate(slim.nodes) for tensor in node.outputs}
    sites = [_Site(layer.output, tuple(dict.fromkeys((layer.plain, layer.total))), layer) for layer in layers]
    sites += [_Site(node.outputs[0].name, (node.outputs[0].name,), node) for node in norms]
    known = {tensor.name for node in model.nodes for tensor in node.outputs}
    return sorted((site for site in sites if known.issuperset(site.aims)), key=lambda site: order[site.output])


def _visit(
    method: Method,
    sweep: Sweep,
    site: _Site,
    options: RecoverOptions,
    rng: np.random.Generator,
    masks: WeightMasks,
) -> LayerRecovery:
    if not isinstance(site.what, LinearLayer):
        return restate(sweep, site.what) if method == "moments" else shift(sweep, site.what)
    if method == "least_squares":
        return refit(sweep, site.what, options, rng, masks.get(site.what.weight))
    return match(sweep, site.what, options, rng, scale=method == "moments")
