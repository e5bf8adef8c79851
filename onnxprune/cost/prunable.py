"""How much of a model lies on channels that can go.

A cost is Σ_t c_t · Π_{g ∈ t} n_g over kept counts n_g. A term without any n_g counts what runs
over no group: elements and multiply-accumulates that stay whatever is pruned. So the share
that lies on the groups S is the sum of the terms that hold one of S, over the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnxprune.axes import Poly

__all__ = ["group_shares", "prunable_share"]


def prunable_share(cost: Poly, sizes: Mapping[str, int], groups: Collection[str]) -> float:
    """Returns the part of a cost that runs over at least one of `groups`, as a share of all.

    Args:
        cost: The cost as a polynomial in kept counts.
        sizes: Group name → number of channels, of every group.
        groups: Names of the groups that count.
    """
    part = Poly({key: value for key, value in cost.terms.items() if not set(groups).isdisjoint(key)})
    return _share(part, cost, sizes)


def group_shares(cost: Poly, sizes: Mapping[str, int]) -> dict[str, float]:
    """Returns group name → the part of a cost that runs over it, as a share of all.

    What runs over two groups, as a weight between two layers does, counts for both.
    """
    parts: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in sizes}
    for key, value in cost.terms.items():
        for name in set(key):
            parts[name][key] = value
    return {name: _share(Poly(terms), cost, sizes) for name, terms in parts.items()}


def _share(part: Poly, cost: Poly, sizes: Mapping[str, int]) -> float:
    whole = float(cost(sizes))
    return float(part(sizes)) / whole if whole else 0.0
