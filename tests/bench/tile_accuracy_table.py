"""What tiles cost in accuracy: with channels in a better order, as they stand, and entries wherever they are small.

    python tests/bench/tile_accuracy_table.py FOLDER MODEL... --data train.npz --eval-data test.npz
        [--sparsities 0.5,0.7,0.8] [--epochs 3] [--variants permuted,unpermuted,unstructured,both] [--part I/N]
        [-- image_mean=0.5 image_std=0.25]
    python tests/bench/tile_accuracy_table.py FOLDER --print

Every variant has the same share of zeros in every layer that can be tiled (`--allocator uniform`), is recovered
and trained alike, and runs as `onnxprune compress MODEL --pattern tiles --flops SHARE` does. "unstructured" sets the
smallest entries of each layer to zero instead, which nothing makes faster. "both" lets channels and tiles share
the budget by the default allocator. Options behind `--` are those of a recipe. Finished runs stay in FOLDER and are
not made again.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from result_cache import ResultCache, percent
from table_cli import markdown, parse_table, part_of, table_parser

from onnxprune.core.allocation import Allocation
from onnxprune.core.phases import Phase
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tiling import TiledLayer, Tiling
from onnxprune.graph import Model
from onnxprune.groups import Analysis, find_tile_sites
from onnxprune.pipeline import compressing
from onnxprune.recipe import Recipe
from onnxprune.tiles.blocks import fit_block

VARIANTS = ("permuted", "unpermuted", "unstructured", "both")
KIND = "tiles"


@dataclass(frozen=True)
class Elements(Tiling):
    """Masks of single entries where a tiling is expected."""

    found: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Returns weight → which entries stay."""
        return dict(self.found)


@dataclass(frozen=True)
class ZeroSmallest(Pass):
    """Gives "tiling"; edits "slim" and "plan": the smallest entries of each layer go."""

    share: float

    name = "zero_smallest"
    needs = ("analysis", "plan", "slim")
    gives = ("tiling", "tile_allocation")
    edits = ("slim", "plan")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Zeroes."""
        slim, plan = bench.take("slim", Model).copy(), bench.take("plan", Plan)
        masks, layers = {}, []
        for site in find_tile_sites(bench.take("analysis", Analysis)).sites:
            if isinstance(fit_block(site.operator, site.inputs, site.outputs), str):
                continue
            weight = slim.read(site.weight)
            keep = max(1, int(self.share * weight.size))
            mask = np.zeros(weight.size, dtype=np.bool_)
            mask[np.argsort(-np.abs(weight).ravel(), kind="stable")[:keep]] = True
            masks[site.weight] = mask.reshape(weight.shape)
            slim.replace(site.weight, np.where(masks[site.weight], weight, weight.dtype.type(0)))
            shape = (site.node, site.weight, site.operator, site.input_axis, site.inputs, site.outputs, 1, site.outputs)
            layers.append(TiledLayer(*shape, kept=((0,),)))
        tiling = Elements(tuple(layers), {}, masks)
        found = Plan(plan.model_sha256, plan.sizes, plan.kept, plan.options, plan.approximate, tiling)
        return {"tiling": tiling, "tile_allocation": Allocation({}, {}, {}), "slim": slim, "plan": found}


def zeroed(recipe: Recipe, phase: Phase, *, planned: bool) -> list[Pass]:
    """Stands in for the passes of a run that cut tiles."""
    assert recipe.flops is not None
    return [ZeroSmallest(recipe.flops.value), *compressing._recover(recipe)]


@dataclass(frozen=True)
class Setting:
    """One run.

    Attributes:
        model: Name of the model.
        sparsity: Share of zeros.
        variant: One of `VARIANTS`.
        epochs: Of training.
        seed: Of everything random.
        options: Of every run.
    """

    model: str
    sparsity: float
    variant: str
    epochs: int
    seed: int
    options: tuple[str, ...]

    @property
    def key(self) -> dict[str, Any]:
        """The setting as JSON values."""
        return {"what": KIND, **asdict(self), "options": list(self.options)}

    def run(self, model: Path, data: Path, test: Path, out: Path) -> dict[str, Any]:
        """Returns the accuracies."""
        recipe = Recipe.from_mapping(
            {
                "model": model,
                "out": out,
                "flops": 1 - self.sparsity,
                "pattern": "both" if self.variant == "both" else "tiles",
                "allocator": "auto" if self.variant == "both" else "uniform",
                "permute": self.variant != "unpermuted",
                "block_sparse": "never",
                "data": str(data),
                "eval_data": str(test),
                "epochs": self.epochs,
                "seed": self.seed,
                **dict(option.split("=", 1) for option in self.options),
            }
        )
        tile = compressing._tile
        try:
            if self.variant == "unstructured":
                compressing._tile = zeroed
            report = compressing.compress(recipe).report
        finally:
            compressing._tile = tile
        found = report["evaluation"]
        return {"before": found["before"]["top1"], "after": found["after"]["top1"]}


def text(cache: ResultCache) -> str:
    """Returns the table of finished runs."""
    rows: dict[tuple[str, float, int], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in cache.all(KIND):
        rows[run["model"], run["sparsity"], run["epochs"]][run["variant"]].append(run)
    lines = []
    for (model, sparsity, epochs), found in sorted(rows.items()):
        before = next(run["before"] for runs in found.values() for run in runs)
        cells = [percent([run["after"] for run in found[name]]) for name in VARIANTS]
        lines.append([model, f"{sparsity:.0%}", str(epochs), percent([before]), *cells])
    return markdown(["model", "zeros", "epochs", "original", *VARIANTS], lines)


def main(words: list[str]) -> None:
    """Makes what is missing, and prints the table."""
    parser = table_parser(__doc__)
    parser.add_argument("--sparsities", default="0.5,0.7,0.8")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--epochs", type=int, default=3)
    known = parse_table(parser, words)
    cache = ResultCache(known.folder)
    if not known.print:
        planned = [
            (Setting(model.stem, float(sparsity), variant, known.epochs, seed, tuple(known.options)), model)
            for sparsity in known.sparsities.split(",")
            for model in known.models
            for seed in known.seeds
            for variant in known.variants.split(",")
        ]
        for setting, model in part_of(planned, known.part):
            out = Path(f"{cache.place(setting.key)}.onnx")
            cache.get(setting.key, lambda s=setting, m=model, o=out: s.run(m, known.data, known.eval_data, o))
    print(text(cache))


if __name__ == "__main__":
    main(sys.argv[1:])
