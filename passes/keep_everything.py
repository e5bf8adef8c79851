"""keep_everything: a slim model that is the whole model, for training before the first cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.allocation import Allocation
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.groups import Analysis

__all__ = ["KeepEverything"]


@dataclass(frozen=True)
class KeepEverything(Pass):
    """Gives "plan" and "allocation", which keep all channels, and "slim", a copy of "working"."""

    name = "keep_everything"
    needs = ("original", "working", "analysis")
    gives = ("plan", "allocation", "slim")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Copies."""
        sizes = bench.take("analysis", Analysis).sizes
        kept = {name: tuple(range(size)) for name, size in sizes.items()}
        plan = Plan(bench.take("original", Model).sha256, sizes, kept)
        whole = Allocation(sizes, {}, {}, dict.fromkeys(sizes, 1))
        return {"plan": plan, "allocation": whole, "slim": bench.take("working", Model).copy()}
