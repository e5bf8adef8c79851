"""How much each channel matters."""

from onnxprune.criteria.base import Criterion, ScoreContext, Scores
from onnxprune.criteria.registry import CRITERIA

__all__ = ["CRITERIA", "Criterion", "ScoreContext", "Scores"]
