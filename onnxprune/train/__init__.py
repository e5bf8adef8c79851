"""Retraining: data, options, losses and the loop.

Names that need PyTorch live in `onnxprune.train.loop`; what is listed here needs numpy only.
"""

from __future__ import annotations

from onnxprune.train.data import Batch, Dataset, open_data
from onnxprune.train.options import TrainOptions
from onnxprune.train.samples import Samples

__all__ = ["Batch", "Dataset", "Samples", "TrainOptions", "open_data"]
