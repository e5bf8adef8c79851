"""recover_outputs: sets the pruned model's weights right from calibration samples, without training.

Layers are refitted to the original's outputs, their moments matched, their biases corrected
(`onnxprune.recover`); each only where held-out samples gain. Labels are not looked at. It runs
behind the certificate, which compares the pruned model with its weights as they were, and before
retraining, which starts from what is recovered here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.bridge.walk import peak_bytes
from onnxprune.core.errors import ModelError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tiling import Tiling
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.groups.masking import plan_masks, touched
from onnxprune.recover import RecoverOptions, RecoveryRecord
from onnxprune.recover.run import recover
from onnxprune.recover.sweep import Calibration
from onnxprune.train.bench import take_samples

__all__ = ["RecoverOutputs"]

BATCH = 128
SMALLEST = 16
"""Fewer samples than this say too little."""

Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class RecoverOutputs(Pass):
    """Edits "slim"; gives "recovery".

    Attributes:
        options: What is tried, and limits.
    """

    options: RecoverOptions = field(default_factory=RecoverOptions)

    name = "recover_outputs"
    needs = ("model", "working", "analysis", "plan", "slim", "data")
    gives = ("recovery",)
    edits = ("slim",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Recovers; where that cannot be done, a note says why and "slim" stays as it is."""
        slim, tiling = bench.take("slim", Model), bench.find("tiling", Tiling)
        # channels may stand in another order since tiles went, and in "working" they stand in the same
        model = bench.take("model" if tiling is None else "working", Model)
        analysis, plan = bench.take("analysis", Analysis), bench.take("plan", Plan)
        masks = plan_masks(analysis, plan)
        tiles = tiling.masks() if tiling is not None else {}
        if not masks and not tiles:
            return {"slim": slim, "recovery": _nothing()}
        try:
            batches = self._batches(bench, model, slim)
        except ModelError as error:
            bench.note(f"The pruned model was not recovered before training: {error}")
            return {"slim": slim, "recovery": _nothing()}
        if len(batches) < 2 or sum(map(_samples, batches)) < SMALLEST:
            bench.note(
                f"The pruned model was not recovered before training: fewer than {SMALLEST} samples are there, or fit "
                f"into {self.options.max_bytes / 2**30:.1f} GiB."
            )
            return {"slim": slim, "recovery": _nothing()}
        fit = min(max(round(len(batches) * (1 - self.options.held_out)), 1), len(batches) - 1)
        calibration = Calibration(tuple(batches), fit)
        found, record = recover(
            model, slim, calibration, lambda name: touched(analysis, masks, name), self.options, tiles
        )
        return {"slim": found, "recovery": record}

    def _batches(self, bench: Bench, model: Model, slim: Model) -> list[Inputs]:
        """Batches of equal size, as many as memory holds."""
        data = take_samples(bench, "data")
        sizes = {spec.shape[0] for spec in model.inputs() if spec.shape and isinstance(spec.shape[0], int)}
        samples = min(self.options.samples, len(data))
        # at least eight batches, so that the share held out is near what was asked for
        static = sizes.pop() if len(sizes) == 1 else None
        size = static or min(BATCH, max(1, samples // 8))
        few = static or min(size, 2)
        probe = data.first(few).inputs
        bytes_each = (peak_bytes(model, probe) + peak_bytes(slim, probe)) / max(_samples(probe), 1)
        held = int(self.options.max_bytes / max(bytes_each, 1.0))
        if held < samples:
            bench.note(f"Recovery took {held} calibration samples instead of {samples}, as many as memory holds.")
        rng = np.random.default_rng(self.options.seed)
        drawn = data.calibration(min(held, samples), rng, size) if held else ()
        return [batch.inputs for batch in drawn if _samples(batch.inputs) == size]


def _samples(batch: Inputs) -> int:
    return max((len(array) for array in batch.values() if array.ndim), default=1)


def _nothing() -> RecoveryRecord:
    return RecoveryRecord(0, 0, 0.0, 0.0, ())
