"""Dropping steps from a recipe while it still fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from random_graphs.recipe import Recipe

__all__ = ["shrunk"]


def shrunk(recipe: Recipe, fails: Callable[[Recipe], bool]) -> Recipe:
    """Returns a recipe that fails and from which no single step can go.

    Args:
        recipe: One that fails.
        fails: Says whether a recipe fails in the same way.
    """
    if fails(plain := replace(recipe, old=False)):
        recipe = plain
    width = max(1, len(recipe.steps) // 2)
    while width:
        start = 0
        while start < len(recipe.steps):
            shorter = replace(recipe, steps=recipe.steps[:start] + recipe.steps[start + width :])
            if fails(shorter):
                recipe = shorter
            else:
                start += width
        width //= 2
    return recipe
