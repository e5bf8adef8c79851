"""score_tiles: what tiles of weights are worth beside channels, where both share one budget.

Each weight that can be cut, and that tiles make faster as far as that was timed (`time_tiles`), is a group of as
many members as it has blocks of inputs (`onnxprune.tiles.levels`), in the order in which its channels stand;
`plan_tiles` puts them in a better one. What it costs is its share of the model times the share of blocks that it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.axes import Poly
from onnxprune.core.group import Group
from onnxprune.core.shares import normalised
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tile_options import BlockOption, Saliency
from onnxprune.core.tile_site import TileSite
from onnxprune.cost.size import element_bytes
from onnxprune.criteria import Scores
from onnxprune.graph import Model
from onnxprune.groups import Analysis, find_tile_sites
from onnxprune.passes.entry_worth import entry_worth
from onnxprune.passes.time_tiles import TileGains
from onnxprune.tiles import BalancedTiles, block_sums
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.blocks import fit_block
from onnxprune.tiles.levels import entry_ranks, level_worth
from onnxprune.tiles.network import from_matrix
from onnxprune.trial.block_gates import BlockGate

__all__ = ["ScoreTiles", "TileLevels", "level_name"]

_PREFIX = "tiles of "


def level_name(site: TileSite) -> str:
    """Returns the name of the group that stands for a weight beside groups of channels."""
    return f"{_PREFIX}{site.node}"


@dataclass(frozen=True)
class TileLevels:
    """Weights as groups of blocks.

    Attributes:
        groups: One for each weight.
        worth: Group → what each rank of blocks is worth, float64 [blocks].
        shares: Resource → for each group, what its weight costs as a polynomial in kept channels.
        gates: Where blocks are switched, while keep ratios learn.
    """

    groups: tuple[Group, ...]
    worth: Mapping[str, Floats]
    shares: Mapping[str, Mapping[str, Poly]]
    gates: tuple[BlockGate, ...] = ()

    def cost(self, resource: str, whole: Poly) -> Poly:
        """Returns the cost of a resource, in kept channels and kept blocks.

        Args:
            resource: Its name.
            whole: The cost in kept channels.
        """
        terms = dict(whole.terms)
        for share in self.shares.get(resource, {}).values():
            for key, value in share.terms.items():
                # what a weight costs is part of the whole, term by term; what is left of a term is rounding
                left = terms[key] - value
                terms[key] = left if left > 1e-9 * terms[key] else 0.0
        parts = [Poly({key: value for key, value in terms.items() if value})]
        for group in self.groups:
            own = self.shares.get(resource, {}).get(group.name)
            if own is not None:
                parts.append(own * Poly.variable(group.name) * (1.0 / group.size))
        return Poly.sum(parts)


@dataclass(frozen=True)
class ScoreTiles(Pass):
    """Gives "tile_levels"; nothing to choose from where no weight can be cut.

    Attributes:
        block: As `plan_tiles` takes it.
        saliency: Likewise.
        seed: Likewise.
    """

    block: BlockOption = None
    saliency: Saliency = "auto"
    seed: int = 0

    name = "score_tiles"
    needs = ("working", "analysis", "scores")
    gives = ("tile_levels",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Scores."""
        working, analysis = bench.take("working", Model), bench.take("analysis", Analysis)
        gains = bench.find("tile_gains", TileGains)
        slower = {} if gains is None else gains.slower
        fitting = [(site, self._fit(site)) for site in find_tile_sites(analysis).sites if site.node not in slower]
        sites = [(site, block) for site, block in fitting if not isinstance(block, str)]
        matrices, unit = entry_worth(bench, working, [site for site, _ in sites], self.saliency, self.seed)
        weights, worth, groups = working.initializers(), {}, []
        macs, params, sizes, gates = {}, {}, {}, []
        alike = unit == bench.take("scores", Scores).unit == "loss"
        for site, (block, tile) in sites:
            name, count = level_name(site), site.inputs // block
            groups.append(Group(name, count, (), unit="block"))
            pattern, matrix = BalancedTiles(block, tile, 1.0), matrices[site.weight]
            found = level_worth(block_sums(pattern, matrix))
            gates.append(BlockGate(name, site.weight, from_matrix(entry_ranks(pattern, matrix), site)))
            worth[name] = found if alike else normalised(found)
            macs[name] = analysis.node_macs[site.node]
            params[name] = analysis.initializer_params[site.weight]
            sizes[name] = params[name] * element_bytes(weights[site.weight])
        shares = {"flops": macs, "params": params, "size": sizes}
        return {"tile_levels": TileLevels(tuple(groups), worth, shares, tuple(gates))}

    def _fit(self, site: TileSite) -> tuple[int, int] | str:
        return fit_block(site.operator, site.inputs, site.outputs, self.block)
