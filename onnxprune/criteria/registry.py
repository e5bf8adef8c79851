"""The criteria, by the name that `--criterion` takes."""

from __future__ import annotations

from onnxprune.core.registry import Registry
from onnxprune.criteria.base import Criterion

__all__ = ["CRITERIA"]

CRITERIA: Registry[type[Criterion]] = Registry("criterion", "onnxprune.criteria")
