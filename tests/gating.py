"""Whether a gated model is the masked original, for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from bridging import gap
from pruning import Analysed, random_plan

from onnxprune.bridge import predict, to_torch
from onnxprune.bridge.moments import feed
from onnxprune.core.plan import Plan
from onnxprune.groups.masking import emptied_model
from onnxprune.trial.gates import Gates

TOLERANCE = 1e-4


def check(item: Analysed, gates: Gates, feeds: Mapping[str, np.ndarray], seed: int) -> None:
    """Under a random plan of the gated groups, the gated model is the masked original."""
    drawn = random_plan(item.analysis, seed)
    whole = {name: tuple(range(size)) for name, size in item.analysis.sizes.items()}
    plan = Plan("", drawn.sizes, {n: drawn.kept[n] if n in gates.groups else whole[n] for n in whole})
    expected = predict(to_torch(emptied_model(item.model, item.analysis, plan)), feeds)
    masks = {name: torch.from_numpy(plan.mask(name)).float() for name in plan.kept}
    module = to_torch(item.model).eval()
    with torch.no_grad():
        found = module.call_with(gates.values(module, masks), feed(module, feeds))
    outputs = found if isinstance(found, tuple) else (found,)
    for name, value in zip(module.output_names, outputs, strict=True):
        if expected[name].dtype.kind == "f":
            assert gap(value.numpy(), expected[name]) < TOLERANCE
