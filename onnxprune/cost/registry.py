"""The costs, by the name of the resource that a budget bounds."""

from __future__ import annotations

from onnxprune.core.registry import Registry
from onnxprune.cost.base import Cost

__all__ = ["COSTS"]

COSTS: Registry[type[Cost]] = Registry("cost", "onnxprune.cost")
