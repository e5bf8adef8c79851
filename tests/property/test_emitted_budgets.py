"""What is emitted is within its budgets, and uses them up: random graphs, budgets and allocators through `compress`."""

from __future__ import annotations

import numpy as np
import pytest
import recount
from properties import SIZES, feeds_of
from pruning import analysed
from random_graphs import build, draw

import onnxprune
from onnxprune.allocate import ALLOCATORS
from onnxprune.cost import COSTS
from onnxprune.cost.memory import memory_polynomials
from onnxprune.recipe import LEARNING

RESOURCES = ("flops", "params", "size", "memory")
NAMES = ALLOCATORS.names()


pytestmark = pytest.mark.usefixtures("quick_latency")


def lowest_share(item, resource: str) -> float:
    """The smallest share of a cost that can be reached."""
    ones = dict.fromkeys(item.analysis.sizes, 1)
    if resource == "memory":
        polynomials = list(memory_polynomials(item.analysis, item.model).values())
        return max(p(ones) for p in polynomials) / max(p(item.analysis.sizes) for p in polynomials)
    cost = COSTS.get(resource)().polynomial(item.analysis, item.model)
    return float(cost(ones) / cost(item.analysis.sizes))


def check_seed(seed: int) -> bool:
    """Compresses the graph of a seed; returns whether there was anything to compress."""
    source = build(draw(seed))
    item = analysed(source)
    if not item.analysis.groups:
        return False
    rng = np.random.default_rng(seed)
    resource, name = RESOURCES[seed % len(RESOURCES)], NAMES[int(rng.integers(len(NAMES)))]
    lowest = lowest_share(item, resource)
    share = lowest + float(rng.uniform(0.05, 1.0)) * (1 - lowest)
    options = {resource: f"{100 * share:.6f}%", "allocator": name, "align": int(rng.choice([1, 2, 8]))}
    if name in LEARNING:
        data = feeds_of(source, SIZES[1] | {"N": 16}, seed)
        options |= {"data": data, "batch_size": 8, "search_epochs": 2.0, "epochs": 0}
    result = onnxprune.compress(source, **options)
    said = f"seed {seed}, {name}, {resource} {share:.3f}"
    (budget,) = result.report["budgets"]
    assert budget["reached"] <= budget["limit"] * (1 + 1e-9), said
    if budget["reached"] < 0.98 * budget["limit"]:
        assert any("of the" in note and "budget is used" in note for note in result.report["notes"]) or (
            {n: len(k) for n, k in result.plan.kept.items()} == dict(item.analysis.sizes)
        ), said
    if resource == "params":
        assert recount.params(result.model) == budget["reached"], said
    return True


def test_budgets_of_emitted_models_hold():
    assert sum(check_seed(seed) for seed in range(3)) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_budgets_of_emitted_models_hold(block):
    assert sum(check_seed(seed) for seed in range(3000 + block * 14, 3014 + block * 14)) >= 8
