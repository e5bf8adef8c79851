"""Where a run stands, beside its weights: as numbers in memory, and as JSON in a checkpoint.

Everything random is drawn from the seed and the number of the step or epoch, so that no state of
a generator belongs here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from onnxprune.train.meter import LossMeter
from onnxprune.train.record import EpochRecord

__all__ = ["RunState"]


@dataclass
class RunState:
    """The numbers of a run.

    Attributes:
        step: Steps done in all.
        records: The finished epochs.
        best: The best score on validation data so far, or None.
        kept: The epoch whose weights are kept; 0 before the first.
        seconds: Spent in the epoch under way by earlier attempts.
    """

    step: int = 0
    records: list[EpochRecord] = field(default_factory=list)
    best: float | None = None
    kept: int = 0
    seconds: float = 0.0

    def stale(self) -> int:
        """Returns how many epochs were finished since the one that is kept."""
        return len(self.records) - self.kept

    def to_facts(self, meter: LossMeter) -> dict[str, Any]:
        """Returns the state and the meter's sums as JSON values; floats survive to the bit."""
        recent = None if math.isnan(meter.recent) else meter.recent
        return {**asdict(self), "loss": {"total": meter.total, "steps": meter.steps, "recent": recent}}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], meter: LossMeter) -> RunState:
        """Returns what `to_facts` was given; puts back the meter's sums."""
        loss = facts["loss"]
        meter.total, meter.steps = loss["total"], loss["steps"]
        meter.recent = math.nan if loss["recent"] is None else loss["recent"]
        records = [EpochRecord(**record) for record in facts["records"]]
        return cls(facts["step"], records, facts["best"], facts["kept"], facts["seconds"])
