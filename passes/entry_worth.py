"""What entries of weights are worth, before tiles of them go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.core.stage import Bench
from onnxprune.core.tile_options import Saliency
from onnxprune.core.tile_site import TileSite
from onnxprune.criteria.base import Unit
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.tiles import measure_saliency
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.network import as_matrix
from onnxprune.train.bench import find_samples
from onnxprune.trial.probe import Probe

__all__ = ["entry_worth"]


def entry_worth(
    bench: Bench, model: Model, sites: Sequence[TileSite], saliency: Saliency, seed: int
) -> tuple[dict[str, Floats], Unit]:
    """Returns weight → what its entries are worth, those of a kernel together, float64 [K, N]; and in which unit.

    Args:
        bench: Holds "analysis", and perhaps "data".
        model: Holds the weights.
        sites: What is asked for.
        saliency: "magnitude", "fisher" or "auto".
        seed: Of what is drawn for fisher.
    """
    data = find_samples(bench, "data") if saliency != "magnitude" else None
    if data is not None:
        probe = Probe(model, bench.take("analysis", Analysis), data, seed=seed)
        try:
            # the entries of a kernel between two channels stay or go together
            losses = probe.entry_losses({site.weight: tuple(range(-site.spatial, 0)) for site in sites})
        except ModelError as error:
            bench.note(f"Entries of weights are worth their magnitude, because gradients cannot be taken: {error}")
        else:
            return {site.weight: as_matrix(losses[site.weight], site)[:, :, 0] for site in sites}, "loss"
    wide = {site.weight: as_matrix(model.read(site.weight).astype(np.float64), site) for site in sites}
    return {name: measure_saliency(matrix) for name, matrix in wide.items()}, "share"
