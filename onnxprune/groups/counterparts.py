"""The groups of one analysis among those of another of the same graph.

The approximate analysis knows all groups of the exact one, and those that only a statistic keeps;
names tell them apart by number, and may differ.
"""

from __future__ import annotations

import numpy as np

from onnxprune.axes import leaves
from onnxprune.core.group import Group
from onnxprune.groups.analysis import Analysis, channel_labels

__all__ = ["counterparts"]


def counterparts(exact: Analysis, wide: Analysis) -> dict[str, str] | None:
    """Returns name of each group of `exact` → name in `wide`, or None where one has no counterpart.

    Args:
        exact: One analysis.
        wide: Another one of the same model.
    """
    found = {group.name: _counterpart(exact, wide, group) for group in exact.groups}
    named = {name: other for name, other in found.items() if other is not None}
    return named if len(named) == len(found) == len(set(named.values())) else None


def _counterpart(exact: Analysis, wide: Analysis, group: Group) -> str | None:
    """A group that has the same channels in the same places."""
    names = {atom: name for name, atom in wide.atoms.items()}
    member = group.members[0]
    labels = exact.labels(group.name, member)
    axis = wide.inference.axes(member.initializer)[member.axis]
    for atom in leaves(axis):
        if atom in names and atom.size == group.size and np.array_equal(channel_labels(axis, atom), labels):
            return names[atom]
    return None
