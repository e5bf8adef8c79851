"""Whether a slim model is what a plan makes of its original, weights and all."""

from __future__ import annotations

from pathlib import Path

from onnxprune.core.certificate import Certificate
from onnxprune.core.errors import CertificateError
from onnxprune.core.events import EventHandler
from onnxprune.core.plan import Plan, named_plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.passes.certify import Certify, compared
from onnxprune.passes.check_tiles import CheckTiles
from onnxprune.passes.count_original import CountOriginal
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.match_plan import MatchPlan
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.prune_tiles import PruneTiles
from onnxprune.passes.use_plan import UsePlan

__all__ = ["held_to_plan"]


def held_to_plan(
    original: Model, working: Model, slim: Model, given: Path | Plan, on_event: EventHandler
) -> Certificate:
    """Returns the evidence that a model computes what a plan leaves of its original.

    The plan is carried out again, and certified against the masked original; the given model is compared with what
    comes out, whatever its graph looks like.

    Args:
        original: The model that the plan was made for.
        working: The same with its local functions inlined.
        slim: The model that should have come out, without any training.
        given: The plan, or where it lies.
        on_event: Called with progress.

    Raises:
        InputError: when the plan cannot be read, or does not fit the original.
        CertificateError: when the slim model computes something else; the output that is furthest off is named.
    """
    plan, source = named_plan(given)
    bench = Bench({"original": original, "model": working.copy()}, on_event=on_event)
    cut: list[Pass] = [UsePlan(plan, source), PruneChannels(), Certify()]
    if plan.tiling.layers:
        cut += [CheckTiles(source), PruneTiles()]
    run_passes(
        [
            MatchPlan(plan, source),
            FoldConstants(),
            FindShapes(),
            CountOriginal(),
            FindGroups(plan.is_approximate),
            *cut,
        ],
        bench,
    )
    certificate = bench.take("certificate", Certificate)
    rows = compared("what the plan leaves = slim model", bench.take("slim", Model), slim, bench, 0)
    worst = max(rows, key=lambda row: row.max_rel)
    if not worst.max_rel <= certificate.tolerance:
        raise CertificateError(
            f"{slim.path or 'The slim model'} does not compute what {source} leaves of "
            f"{original.path or 'the original'}: output '{worst.output}' deviates by {worst.max_rel:.3g} of its "
            f"largest magnitude at batch size {worst.batch}; {certificate.tolerance:g} is allowed. Its weights were "
            "changed, by retraining for one, or it was made by another plan."
        )
    return Certificate((*certificate.rows, *rows), certificate.tolerance)
