"""One-shot recovery: a pruned net's weights set right from unlabelled samples, before any training.

`onnxprune.recover.run.recover` does it; it needs PyTorch. What is listed here needs numpy only.
"""

from __future__ import annotations

from onnxprune.recover.options import METHODS, Method, RecoverOptions
from onnxprune.recover.record import LayerRecovery, RecoveryRecord, StageRecovery

__all__ = ["METHODS", "LayerRecovery", "Method", "RecoverOptions", "RecoveryRecord", "StageRecovery"]
