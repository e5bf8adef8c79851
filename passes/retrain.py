"""retrain: the slim model learns from the original, and from labels where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxprune.bridge import OnnxModule, predict, reestimate, to_torch, write_back
from onnxprune.core.errors import CertificateError
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.runtime import make_session, run
from onnxprune.train import Dataset, TrainOptions
from onnxprune.train.loop import train

__all__ = ["Retrain"]

CALIBRATION_SAMPLES = 1024
PARITY_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Retrain(Pass):
    """Edits "slim"; gives "training".

    Attributes:
        options: How to train.
    """

    options: TrainOptions = field(default_factory=TrainOptions)

    name = "retrain"
    needs = ("model", "slim", "data")
    gives = ("training",)
    edits = ("slim",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Trains.

        Raises:
            DataError: when the data does not fit.
            Interrupted: on Ctrl-C.
            CertificateError: when the trained graph and the trained module disagree.
        """
        slim, data = bench.take("slim", Model).copy(), bench.take("data", Dataset)
        student, teacher = to_torch(slim), to_torch(bench.take("model", Model))
        rng = np.random.default_rng(self.options.seed)
        reestimate(student, [b.inputs for b in data.calibration(CALIBRATION_SAMPLES, rng)])
        record = train(student, teacher, data, self.options, on_progress=bench.on_event)
        write_back(student, slim)
        _check_parity(student, slim, data)
        return {"slim": slim, "training": record}


def _check_parity(student: OnnxModule, slim: Model, data: Dataset) -> None:
    """Checks that the ONNX graph with the weights written back is the trained module."""
    inputs = data.batch(np.arange(min(4, len(data)), dtype=np.intp)).inputs
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
