"""Prunes one file and measures what came of it, with the passes of `onnxprune compress`.

    PYTHONPATH=tests python tests/e2e/zoo/measure.py FILE --flops 0.5 [--approximate]

Two plans are certified: the one that the budget asks for, and one that keeps a random 60 % of
every group, so that each group loses channels at once with all others. A certificate compares
onnxruntime's outputs at batch sizes 1 and 3 and at the sizes of the second concrete run, which
changes every dynamic dimension.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruning import random_plan

from onnxprune.core.budget import Budget
from onnxprune.core.certificate import Certificate
from onnxprune.core.errors import BudgetError
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.cost import COSTS, reachable_range
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.passes.allocate_budget import AllocateBudget
from onnxprune.passes.certify import Certify
from onnxprune.passes.count_original import recount
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.score_channels import ScoreChannels
from onnxprune.runtime import FeedPair

__all__ = ["measure"]

KEPT_SHARE = 0.6
SHOWN_REASONS = 3


def measure(path: Path, flops: float, approximate: bool = False) -> dict[str, Any]:
    """Returns what the zoo's table shows of one file, as JSON values.

    Args:
        path: The exported model.
        flops: The share of the MACs to keep.
        approximate: Whether channels may go over which an operator takes statistics.

    Raises:
        OnnxPruneError: when the file cannot be analysed or a certificate fails.
    """
    bench = Bench()
    run_passes([ImportModel(path), FoldConstants(), FindShapes(), FindGroups(approximate)], bench)
    # timed the second time: the first also imports every operator's rule
    [record] = run_passes([FindGroups(approximate)], bench)
    analysis = bench.take("analysis", Analysis)
    found = _described(bench, analysis) | {"analysis_ms": record.seconds * 1e3}
    if not analysis.groups:
        return found
    budget = _allocate(bench, flops)
    certificates = [_certify(bench)]
    share = recount(bench, bench.take("slim", Model))["flops"] / recount(bench, bench.take("original", Model))["flops"]
    bench.artifacts["plan"] = random_plan(analysis, share=KEPT_SHARE)
    certificates.append(_certify(bench))
    return found | {
        "budget": budget,
        "macs_share": share,
        "worst": [certificate.worst for certificate in certificates],
        "batches": sorted({row.batch for certificate in certificates for row in certificate.rows}),
    }


def _described(bench: Bench, analysis: Analysis) -> dict[str, Any]:
    """Returns what the analysis found."""
    counts = {name: float(poly(analysis.sizes)) for name, poly in analysis.initializer_params.items()}
    reached = {member.initializer for group in analysis.groups for member in group.members}
    reasons: dict[str, int] = {}
    for axis in analysis.frozen:
        for reason in axis.reasons[:1]:
            reasons[reason] = reasons.get(reason, 0) + axis.size
    model, feeds = bench.take("model", Model), bench.take("feeds", FeedPair)
    return {
        "nodes": bench.take("original", Model).node_count(),
        "analysed_nodes": model.node_count(),
        "groups": len(analysis.groups),
        "channels": sum(analysis.sizes.values()),
        "params": sum(counts.values()),
        "prunable_share": sum(n for name, n in counts.items() if name in reached) / max(1.0, sum(counts.values())),
        "macs": float(analysis.macs(analysis.sizes)),
        "sizes": {name: list(array.shape) for name, array in feeds.first.items()},
        "second_sizes": {name: list(array.shape) for name, array in (feeds.second or {}).items()},
        "unknown_ops": dict(analysis.unknown_ops),
        "frozen": sorted(reasons, key=lambda r: -reasons[r])[:SHOWN_REASONS],
        "notes": bench.notes,
    }


def _allocate(bench: Bench, flops: float) -> float:
    """Gives the bench a plan for `flops`, or halfway down where that cannot be reached; returns the budget."""
    run_passes([ScoreChannels()], bench)
    try:
        run_passes([AllocateBudget((Budget("flops", flops),))], bench)
    except BudgetError:
        analysis, model = bench.take("analysis", Analysis), bench.take("model", Model)
        cost = {"flops": COSTS.get("flops")().polynomial(analysis, model)}
        budget = (1.0 + reachable_range(cost, analysis.sizes)["flops"].lowest_share) / 2
        run_passes([AllocateBudget((Budget("flops", budget),))], bench)
        return budget
    return flops


def _certify(bench: Bench) -> Certificate:
    run_passes([PruneChannels(), Certify()], bench)
    return bench.take("certificate", Certificate)


def main(words: Sequence[str] | None = None) -> None:
    """Measures the file on the command line; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--flops", type=float, required=True)
    parser.add_argument("--approximate", action="store_true")
    options = parser.parse_args(words)
    print(json.dumps(measure(options.path, options.flops, options.approximate)))


if __name__ == "__main__":
    main()
