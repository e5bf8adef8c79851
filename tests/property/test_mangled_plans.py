"""Plans with something else in some place: carried out, or refused with a reason; never a traceback."""

from __future__ import annotations

import json
import random

import pytest
from bridging import convnet

import onnxprune
from onnxprune.core.errors import OnnxPruneError
from onnxprune.core.plan import Plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.passes.certify import Certify
from onnxprune.passes.check_tiles import CheckTiles
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.prune_tiles import PruneTiles
from onnxprune.passes.use_plan import UsePlan
from onnxprune.pipeline.deciding import analysing
from onnxprune.recipe import Recipe, follow

VALUES = (None, True, False, 0, -1, 1, 3, 7, 1.5, 10**12, "", "conv_0", "a", "Conv", [], [0], [0, 1, 2, 3], {}, [[0]])
SHORT, LONG = 150, 3000


CUTS = (
    {"flops": 0.5, "pattern": "both", "block": "2x4", "align": 1, "block_sparse": "never"},
    {"pattern": "tiles", "block": "2:4"},
)


@pytest.fixture(scope="module", params=CUTS, ids=["tiles", "single zeros"])
def analysed(request):
    """The net's artifacts up to its groups, its plan as JSON, and a recipe."""
    return prepared(request.param)


def prepared(options):
    """Returns the net's artifacts up to its groups, its plan as JSON, and a recipe."""
    bench, recipe = Bench(), Recipe(model=convnet(), flops=0.5)
    run_passes([ImportModel(recipe.model), *analysing(recipe)], bench)
    plan = onnxprune.plan(recipe.model, **options)
    return dict(bench.artifacts), plan.to_json(), Recipe(model=recipe.model, plan=plan)


def places(value, way=()):
    """Yields the way to every value within."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*way, key)
        yield from places(inner, (*way, key))


def mangled(text, rng):
    """Returns the plan with one to three of its values gone, doubled or replaced."""
    content = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        # the options of the run outnumber all else
        ways = [way for way in places(content) if way[0] != "options" or rng.random() < 0.1]
        *way, last = rng.choice(ways)
        holder = content
        for key in way:
            holder = holder[key]
        match rng.choice(("gone", "doubled", "replaced", "replaced")):
            case "gone":
                del holder[last]
            case "doubled" if isinstance(holder, list):
                holder.insert(last, holder[last])
            case _:
                holder[last] = rng.choice(VALUES)
    return json.dumps(content)


def _carry_out(analysed, seed):
    """Returns whether a mangled plan was carried out."""
    artifacts, text, recipe = analysed
    changed = mangled(text, random.Random(seed))
    try:
        plan = Plan.from_json(changed)
        follow(recipe, plan, "plan.json")
        tiles = [CheckTiles(), PruneTiles()] if plan.tiling.layers else []
        run_passes([UsePlan(plan), PruneChannels(), Certify(), *tiles], Bench(dict(artifacts)))
    except OnnxPruneError:
        return False
    except Exception as error:
        raise AssertionError(f"seed {seed}: {changed}") from error
    return True


@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_a_mangled_plan_is_carried_out_or_refused(analysed, count):
    done = [_carry_out(analysed, seed) for seed in range(count)]
    assert any(done)
    assert not all(done)
