"""The analysis of a graph: coupled groups, frozen axes and why, masks, surgery."""

from onnxprune.groups.analysis import Analysis, analyse, node_label
from onnxprune.groups.counterparts import counterparts
from onnxprune.groups.free_orders import FreeOrders, free_orders
from onnxprune.groups.masking import masked_model
from onnxprune.groups.reorder import reordered
from onnxprune.groups.shapes import ConcreteShapes
from onnxprune.groups.surgery import prune
from onnxprune.groups.tile_sites import TileSites, find_tile_sites

__all__ = [
    "Analysis",
    "ConcreteShapes",
    "FreeOrders",
    "TileSites",
    "analyse",
    "counterparts",
    "find_tile_sites",
    "free_orders",
    "masked_model",
    "node_label",
    "prune",
    "reordered",
]
