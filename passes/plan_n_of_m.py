"""plan_n_of_m: which n of every m inputs each output keeps, and in which order of channels.

What is kept is fixed, so nothing is allocated. Channels of coupled groups are put in an order under which large weights
share no group of m ("channel permutation", Pool and Yu, NeurIPS 2021), for all layers together.

The zeros stay in dense weights. Hardware with sparse tensor cores computes n/m of such a layer's MACs, all else
computes all of them: MACs of the report count them all, and a note says how many such hardware leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.core.n_of_m_layer import NOfMLayer
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tile_options import Saliency
from onnxprune.core.tile_site import TileSite
from onnxprune.core.tiling import Tiling
from onnxprune.graph import Model
from onnxprune.groups import FreeOrders, find_tile_sites
from onnxprune.passes.entry_worth import entry_worth
from onnxprune.passes.plan_tiles import take_free_orders
from onnxprune.tiles import FoundMember, NOfM, SearchOptions, search
from onnxprune.tiles.network import make_members

__all__ = ["PlanNOfM"]

_LARGE = 5e5
"""Entries of all matrices above which a search is short."""
_THOROUGH = SearchOptions(starts=("none", "sorted"), kicks=2)
# single entries leave an order little to gain in other places: sixteen rounds find nearly all of it
_SHORT = SearchOptions(starts=("none",), kicks=0, rounds=16)


@dataclass(frozen=True)
class PlanNOfM(Pass):
    """Edits "plan" by its tiling.

    Attributes:
        pattern: How many of how many inputs stay.
        saliency: As `plan_tiles` takes it.
        permute: Whether channels may change places.
        seed: Of the search for orders, and of what is drawn for "fisher".
        options: Of the search; None for what the size of the weights allows.
    """

    pattern: NOfM
    saliency: Saliency = "auto"
    permute: bool = True
    seed: int = 0
    options: SearchOptions | None = None

    name = "plan_n_of_m"
    needs = ("original", "model", "analysis", "shapes", "plan", "slim")
    edits = ("plan",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Plans.

        Raises:
            ModelError: when no weight can be cut; the reasons are listed.
        """
        view, slim = take_free_orders(bench), bench.take("slim", Model)
        sites = self._sites(view, bench)
        matrices, _ = entry_worth(bench, slim, sites, self.saliency, self.seed)
        patterns = {site.weight: self.pattern for site in sites}
        members = make_members(view.analysis, sites, matrices, patterns, counts=view.counts, fixed=not self.permute)
        entries = sum(matrix.size for matrix in matrices.values())
        options = self.options or (_SHORT if entries > _LARGE else _THOROUGH)
        found = search(members, options, np.random.default_rng(self.seed))
        layers = tuple(_layer(site, self.pattern, found.members[site.weight]) for site in sites)
        orders = {name: tuple(int(i) for i in order) for name, order in view.lifted(found.orders).items()}
        self._say(view, sites, bench)
        return {"plan": replace(bench.take("plan", Plan), tiling=Tiling(layers, orders))}

    def _sites(self, view: FreeOrders, bench: Bench) -> list[TileSite]:
        """Returns the weights that have a group of inputs to choose from."""
        known = find_tile_sites(view.analysis)
        refused, found = dict(known.refused), []
        for site in known.sites:
            if site.inputs < self.pattern.m:
                refused[site.node] = f"it has fewer inputs than {self.pattern.m}"
            else:
                found.append(site)
        counts = Counter(refused.values()).most_common()
        reasons = "; ".join(f"{why} ({count})" for why, count in counts)
        if not found:
            raise ModelError(
                f"No weight of this model can keep {self.pattern.n} of every {self.pattern.m} inputs: "
                f"{reasons or 'there are none'}. Use --pattern channels."
            )
        if refused:
            bench.note(f"{len(refused)} of {len(refused) + len(found)} layers stay whole: {reasons}.")
        return found

    def _say(self, view: FreeOrders, sites: list[TileSite], bench: Bench) -> None:
        macs = {label: float(cost(view.counts)) for label, cost in view.analysis.node_macs.items()}
        whole = sum(macs.values())
        left = sum(macs[site.node] * (1 - self.pattern.n / self.pattern.m) for site in sites)
        bench.note(
            f"{len(sites)} layers keep {self.pattern.n} of every {self.pattern.m} inputs, as zeros in dense weights. "
            f"Hardware with sparse tensor cores, used through a runtime that looks for such zeros (TensorRT with its "
            f"sparse weights on), may leave out {left / whole:.1%} of the model's MACs; onnxruntime and all else "
            "compute every one, and the MACs, parameters and bytes of this report count them all."
        )


def _layer(site: TileSite, pattern: NOfM, member: FoundMember) -> NOfMLayer:
    """Returns a weight in the order found."""
    return NOfMLayer(
        site.node,
        site.weight,
        site.operator,
        site.input_axis,
        member.choice.shape[0],
        member.choice.shape[1],
        pattern.n,
        pattern.m,
        NOfMLayer.pack(member.choice),
        site.spatial,
    )
