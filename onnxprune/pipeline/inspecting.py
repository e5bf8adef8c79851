"""What can go of a model, what cannot, and why."""

from __future__ import annotations

import os
from pathlib import Path

from onnxprune.axes import Poly
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.result import Inspection, Prunable
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.cost import COSTS, group_shares, prunable_share, reachable_range
from onnxprune.graph import Model, TensorSpec
from onnxprune.groups import Analysis
from onnxprune.passes.allocate_budget import REPORTED
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.pipeline.words import ModelLike, check_place, model_source
from onnxprune.report.graph_svg import graph_svg
from onnxprune.report.write import write_text

__all__ = ["inspect"]


def inspect(
    model: ModelLike,
    *,
    approximate: bool = False,
    graph: str | os.PathLike[str] | None = None,
    on_event: EventHandler = ignore_events,
) -> Inspection:
    """Returns groups, costs, frozen channels with their reasons, and the reachable range of a model.

    Args:
        model: A path or a ModelProto.
        approximate: As in `Recipe`.
        graph: Where an SVG goes that draws the groups on the model's graph, or None.
        on_event: Called with progress.

    Raises:
        OnnxPruneError: when the model cannot be read or run, or the drawing cannot be written.
    """
    if graph is not None:
        check_place(Path(graph))
    bench = Bench(on_event=on_event)
    run_passes([ImportModel(model_source(model)), FoldConstants(), FindShapes(), FindGroups(approximate)], bench)
    original, folded = bench.take("original", Model), bench.take("model", Model)
    analysis = bench.take("analysis", Analysis)
    costs = {name: COSTS.get(name)().polynomial(analysis, folded) for name in REPORTED}
    reachable = reachable_range(costs, analysis.sizes)
    group_macs = group_shares(costs["flops"], analysis.sizes)
    if graph is not None:
        title = original.path.name if original.path is not None else "model in memory"
        write_text(Path(graph), graph_svg(folded, analysis, title=title, macs_share=group_macs))
    return Inspection(
        model=str(original.path or ""),
        inputs={spec.name: _shape(spec) for spec in original.inputs()},
        outputs={spec.name: _shape(spec) for spec in original.outputs()},
        opset=original.opset,
        macs=reachable["flops"].original,
        params=reachable["params"].original,
        size_bytes=round(reachable["size"].original),
        groups=analysis.groups,
        group_macs=group_macs,
        frozen=analysis.frozen,
        reachable={name: (found.lowest_share, 1.0) for name, found in reachable.items()},
        unknown_ops=dict(analysis.unknown_ops),
        notes=tuple(bench.notes),
        group_params=group_shares(costs["params"], analysis.sizes),
        prunable={name: _prunable(costs[name], analysis, approximate) for name in ("flops", "params")},
    )


def _prunable(cost: Poly, analysis: Analysis, approximate: bool) -> Prunable:
    exact = [group.name for group in analysis.groups if not group.approximate]
    every = [group.name for group in analysis.groups]
    return Prunable(
        exact=prunable_share(cost, analysis.sizes, exact),
        approximate=prunable_share(cost, analysis.sizes, every) if approximate else None,
    )


def _shape(spec: TensorSpec) -> tuple[str, tuple[int | str, ...]]:
    kind = spec.dtype.name if spec.dtype is not None else "?"
    return kind, tuple("?" if d is None else d for d in spec.shape or ())
