"""retrain: the slim model learns from the original, and from labels where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.bridge import OnnxModule, predict, reestimate, to_torch, write_back
from onnxprune.core.errors import CertificateError, UsageError
from onnxprune.core.phases import Phase
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tiling import Tiling
from onnxprune.graph import Model, for_training, narrowed_back
from onnxprune.groups import Analysis
from onnxprune.groups.masking import plan_masks, touched
from onnxprune.passes.measure_cut import Cut
from onnxprune.runtime import make_session, run
from onnxprune.train import Samples, TrainOptions
from onnxprune.train.batching import calibration_inputs, static_batch_size
from onnxprune.train.bench import find_samples, take_samples
from onnxprune.train.features import FeatureKeep
from onnxprune.train.held import Masks
from onnxprune.train.loop import train
from onnxprune.train.record import TrainRecord
from onnxprune.train.schedules import adaptive_scale

__all__ = ["Retrain"]

CALIBRATION_SAMPLES = 1024
PARITY_TOLERANCE = 1e-4
_PARITY_SAMPLES = 4


@dataclass(frozen=True)
class Retrain(Pass):
    """Edits "slim"; gives "training", to which each phase adds its epochs.

    Attributes:
        options: How to train.
        phase: Which of how many rounds this is.
        checkpoint: Folder that training can go on from after a kill, or None.
        resume: Whether it does.
    """

    options: TrainOptions = field(default_factory=TrainOptions)
    phase: Phase = field(default_factory=Phase)
    checkpoint: Path | None = None
    resume: bool = False

    name = "retrain"
    needs = ("model", "slim", "data")
    edits = ("slim", "training")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Trains.

        Raises:
            DataError: when the data does not fit.
            Interrupted: on Ctrl-C.
            CertificateError: when the trained graph and the trained module disagree.
        """
        slim, data = bench.take("slim", Model), take_samples(bench, "data")
        wide, note = for_training(slim)
        wide = wide.copy()
        student, teacher = to_torch(wide), to_torch(for_training(bench.take("model", Model))[0])
        rng = np.random.default_rng(self.options.seed)
        reestimate(student, calibration_inputs(student, data, CALIBRATION_SAMPLES, rng))
        record = train(
            student,
            teacher,
            data,
            self._options(bench),
            validation=find_samples(bench, "val_data"),
            on_progress=lambda event: bench.on_event(replace(event, phase=self.phase.number, phases=self.phase.count)),
            checkpoint=self.checkpoint,
            resume=self.resume and self.checkpoint is not None,
            feature_keep=self._kept_of_features(bench),
            masks=_tiles(bench, wide),
        )
        write_back(student, wide)
        _check_parity(student, wide, data)
        for told in (note, *record.notes):
            if told:
                bench.note(told)
        record = replace(record, epochs=tuple(replace(e, phase=self.phase.number) for e in record.epochs))
        earlier = bench.find("training", TrainRecord)
        slim = wide if note is None else narrowed_back(wide, slim)
        return {"slim": slim, "training": record if earlier is None else earlier.followed_by(record)}

    def _kept_of_features(self, bench: Bench) -> FeatureKeep:
        """Returns which channels the slim model has of the tensors that are distilled."""
        analysis, plan = bench.find("analysis", Analysis), bench.find("plan", Plan)
        if analysis is None or plan is None or not self.options.features:
            return {}
        known = bench.take("model", Model).graph.tensors()
        masks = plan_masks(analysis, plan)
        found = {}
        for name in self.options.features:
            axes = touched(analysis, masks, name) if name in known else []
            if len(axes) > 1:
                raise UsageError(
                    f"--features {name}: this tensor lost channels along {len(axes)} axes, and only one can be "
                    "compared. Choose another tensor."
                )
            if axes:
                found[name] = (axes[0][0], np.flatnonzero(axes[0][1]))
        return found

    def _options(self, bench: Bench) -> TrainOptions:
        options = self.options
        cut = bench.find("cut", Cut)
        if options.schedule == "allr" and cut is not None:
            scale = adaptive_scale(
                cut.norm_before, cut.norm_after, cut.removed_share, options.epochs, options.original_epochs
            )
            options = replace(options, lr_scale=scale)
        if self.phase.iteration == "gmp":
            # a gradual run has one learning rate curve; its cuts lie on the way
            options = replace(options, schedule_start=self.phase.epochs_before, schedule_epochs=self.phase.all_epochs)
        return options


def _tiles(bench: Bench, model: Model) -> Masks:
    """Returns which entries of tiled weights learn, each shaped as its weight."""
    tiling = bench.find("tiling", Tiling)
    weights = model.initializers()
    return {
        name: np.broadcast_to(mask, tuple(int(n) for n in weights[name].shape))
        for name, mask in (tiling.masks() if tiling is not None else {}).items()
    }


def _check_parity(student: OnnxModule, slim: Model, data: Samples) -> None:
    """Checks that the ONNX graph with the weights written back is the trained module."""
    read = {spec.name: spec.dtype for spec in slim.inputs()}
    count = static_batch_size(student) or _PARITY_SAMPLES
    sample = data.first(count)
    # a model with a static batch size takes no other number, so the last sample may come again
    rows = np.minimum(np.arange(count), len(sample.rows) - 1)
    inputs = {name: array[rows].astype(read[name], copy=False) for name, array in sample.inputs.items()}
    expected = predict(student, inputs)
    found = run(make_session(slim.to_proto(), optimize=False), inputs)
    for name, reference in expected.items():
        gap = float(np.abs(found[name] - reference).max()) / (float(np.abs(reference).max()) + 1e-9)
        if not gap <= PARITY_TOLERANCE:
            raise CertificateError(
                f"After retraining, output '{name}' of the ONNX graph differs from the trained module by {gap:.3g} of "
                f"its largest magnitude; {PARITY_TOLERANCE:g} is allowed. Nothing was written. This is a defect of "
                "onnxprune; please report it with the output of `onnxprune inspect --json`."
            )
