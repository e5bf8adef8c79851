"""Random graphs, decided by a seed and shrunk by dropping steps."""

from random_graphs.recipe import Recipe, build, draw, random_model, step_names
from random_graphs.shrink import shrunk

__all__ = ["Recipe", "build", "draw", "random_model", "shrunk", "step_names"]
