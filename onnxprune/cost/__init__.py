"""What a model costs: as polynomials in kept counts, and recounted on a graph."""

from onnxprune.cost.base import Cost
from onnxprune.cost.formulas import node_macs, uncounted_nodes
from onnxprune.cost.human import human_cost, percent
from onnxprune.cost.planned import COUNTED, planned_costs
from onnxprune.cost.prunable import group_shares, prunable_share
from onnxprune.cost.reachable import ReachableRange, reachable_range
from onnxprune.cost.registry import COSTS

__all__ = [
    "COSTS",
    "COUNTED",
    "Cost",
    "ReachableRange",
    "group_shares",
    "human_cost",
    "node_macs",
    "percent",
    "planned_costs",
    "prunable_share",
    "reachable_range",
    "uncounted_nodes",
]
