"""carry_weights: what training made of the slim model goes back to where it was cut from.

The next phase scores, allocates and prunes the original's channels with these weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.bridge.roles import tensor_roles
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.groups.carry import carried_model

__all__ = ["CarryWeights"]


@dataclass(frozen=True)
class CarryWeights(Pass):
    """Edits "working"."""

    name = "carry_weights"
    needs = ("working", "analysis", "plan", "slim")
    edits = ("working",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Carries."""
        slim = bench.take("slim", Model)
        trained = [name for name, role in tensor_roles(slim).items() if role != "constant"]
        carried = carried_model(
            bench.take("working", Model), bench.take("analysis", Analysis), bench.take("plan", Plan), slim, trained
        )
        return {"working": carried}
