"""The matrices of a graph and the channels that order them: from axes to members of a search.

A group of coupled channels is one permutation variable, and every axis of a weight is written in segments of
such variables. An axis with the group inside a product, as behind a Flatten or within heads, moves in
that factor. Where several factors of one axis could move, such as heads and the channels within each,
the one with the most channels does, and the others stay, here and everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, Prod, leaves, resolve
from onnxprune.core.tile_site import TileSite
from onnxprune.groups import Analysis
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.axis import Segment, axis_length
from onnxprune.tiles.member import Member
from onnxprune.tiles.pattern import Pattern

__all__ = ["as_matrix", "axis_segments", "from_matrix", "make_members", "movable_groups"]

_WHOLE: Mapping[Atom, int] = {}


def movable_groups(analysis: Analysis, sites: Sequence[TileSite]) -> dict[Atom, str]:
    """Returns atom → group name, for groups whose channels may be put in another order for the sites' sake.

    Args:
        analysis: Of the graph; the approximate one knows more groups, and their order is free, too.
        sites: Weights whose axes are looked at.
    """
    names = {atom: name for name, atom in analysis.atoms.items()}
    for site in sites:
        axes = analysis.inference.axes(site.weight)
        for position in (site.input_axis, site.output_axis):
            for atom in _staying(axes[position], names):
                names.pop(atom, None)
    return names


def axis_segments(axis: Axis, names: Mapping[Atom, str], kept: Mapping[Atom, int] = _WHOLE) -> tuple[Segment, ...]:
    """Returns an axis in segments, as it is once channels are gone.

    Args:
        axis: Any axis.
        names: Atom → variable; atoms that are absent stay as they are. Of the factors of a product, one at
            most may hold some.
        kept: Atom → channels that it keeps; all where absent.
    """
    axis = resolve(axis)
    if isinstance(axis, Atom):
        return (Segment(names.get(axis), kept.get(axis, axis.size)),)
    parts = [axis_segments(part, names, kept) for part in axis.parts]
    if not isinstance(axis, Prod):
        return tuple(segment for part in parts for segment in part)
    lengths = [axis_length(part) for part in parts]
    moving = [i for i, part in enumerate(parts) if any(segment.variable is not None for segment in part)]
    if not moving:
        return (Segment(None, math.prod(lengths)),)
    (at,) = moving
    outer, inner = math.prod(lengths[:at]), math.prod(lengths[at + 1 :])
    if len(parts[at]) == 1:
        (one,) = parts[at]
        return (Segment(one.variable, one.size, outer * one.outer, one.inner * inner),)
    return tuple(Segment(one.variable, one.size, one.outer, one.inner * inner) for one in parts[at]) * outer


def make_members(
    analysis: Analysis,
    sites: Sequence[TileSite],
    saliencies: Mapping[str, Floats],
    patterns: Mapping[str, Pattern],
    *,
    counts: Mapping[str, int] | None = None,
    fixed: bool = False,
) -> list[Member]:
    """Returns the sites as members of one search, their variables named as the groups.

    Args:
        analysis: Of the graph before channels went.
        sites: What is to be cut.
        saliencies: Weight → X of what is left of it, float64 [K, N].
        patterns: Weight → which entries may stay.
        counts: Group → channels that it keeps; all where absent.
        fixed: Whether all channels stay where they are.
    """
    names, found = {} if fixed else movable_groups(analysis, sites), []
    kept = {analysis.atoms[name]: count for name, count in (counts or {}).items() if name in analysis.atoms}
    for site in sites:
        axes = analysis.inference.axes(site.weight)
        found.append(
            Member(
                site.weight,
                saliencies[site.weight],
                axis_segments(axes[site.input_axis], names, kept),
                axis_segments(axes[site.output_axis], names, kept),
                patterns[site.weight],
            )
        )
    return found


def as_matrix(values: NDArray[Any], site: TileSite) -> NDArray[Any]:
    """Returns a weight, or what is shaped like it, as [K, N, taps]; channels may be gone from it."""
    moved = np.moveaxis(values, (site.input_axis, site.output_axis), (0, 1))
    return moved.reshape(*moved.shape[:2], -1)


def from_matrix(matrix: NDArray[Any], site: TileSite) -> NDArray[Any]:
    """Returns [K, N], such as a mask, so that it broadcasts over the weight."""
    turned = matrix if site.input_axis == 0 else matrix.T
    return turned.reshape(*turned.shape, *[1] * site.spatial)


def _staying(axis: Axis, names: Mapping[Atom, str]) -> list[Atom]:
    """Returns the atoms that have to stay so that in every product one factor moves at most."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        return []
    found = [atom for part in axis.parts for atom in _staying(part, names)]
    if isinstance(axis, Prod):
        open_atoms = [[atom for atom in leaves(part) if atom in names and atom not in found] for part in axis.parts]
        channels = [sum(atom.size for atom in atoms) for atoms in open_atoms]
        most = int(np.argmax(channels))
        found += [atom for i, atoms in enumerate(open_atoms) if i != most for atom in atoms]
    return found
