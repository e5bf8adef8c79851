"""What must hold of every graph, plan and mode: each property raises AssertionError where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import recount
from numpy.typing import NDArray
from pruning import Analysed, analysed, in_mode, random_plan

from onnxprune.bridge import predict, to_torch
from onnxprune.core.plan import Plan
from onnxprune.cost import COSTS
from onnxprune.groups import masked_model, prune, reordered
from onnxprune.runtime import capture, make_session, run

__all__ = ["Case", "case_of"]

Feeds = Mapping[str, NDArray[Any]]
TOLERANCE = 2e-5
SIZES = ({"N": 1, "T": 3}, {"N": 3, "T": 7})


def feeds_of(proto: onnx.ModelProto, sizes: Mapping[str, int], seed: int) -> dict[str, NDArray[Any]]:
    """Returns random inputs with the given sizes of the dynamic dimensions."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        shape = [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
        if kind.elem_type == onnx.TensorProto.FLOAT:
            feeds[value.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            feeds[value.name] = rng.integers(0, 11, shape)
    return feeds


def gap(found: Feeds, wanted: Feeds) -> float:
    """Returns the largest difference over the largest magnitude, of the worst output."""
    assert found.keys() == wanted.keys()
    worst = 0.0
    for name, reference in wanted.items():
        assert found[name].shape == reference.shape, f"{name}: {found[name].shape} is not {reference.shape}"
        assert np.isfinite(reference).all(), f"{name} is not finite"
        worst = max(worst, float(np.abs(found[name] - reference).max()) / (float(np.abs(reference).max()) + 1e-9))
    return worst


@dataclass(frozen=True)
class Case:
    """A model pruned by one plan.

    Attributes:
        source: The model as it was given.
        item: The model folded, and its analysis.
        plan: What is kept.
        masked: The masked original.
        slim: The pruned model.
        seed: Draws the inputs.
    """

    source: onnx.ModelProto
    item: Analysed
    plan: Plan
    masked: onnx.ModelProto
    slim: onnx.ModelProto
    seed: int

    def masked_is_pruned(self) -> None:
        """Masked original and pruned model agree at two batch sizes and lengths."""
        sessions = [make_session(proto, optimize=False, threads=1) for proto in (self.masked, self.slim)]
        for sizes in SIZES:
            feeds = feeds_of(self.source, sizes, self.seed)
            masked, slim = (run(session, feeds) for session in sessions)
            error = gap(slim, masked)
            assert error < TOLERANCE, f"masked and pruned differ by {error:.2e} at {sizes}"

    def order_of_channels_is_free(self) -> None:
        """The model with the channels of every group in a random order gives what it gave."""
        rng = np.random.default_rng(self.seed)
        orders = {name: rng.permutation(size) for name, size in self.item.analysis.sizes.items()}
        moved = reordered(self.item.model, self.item.analysis, orders).to_proto()
        sessions = [make_session(proto, optimize=False, threads=1) for proto in (self.item.model.to_proto(), moved)]
        for sizes in SIZES:
            feeds = feeds_of(self.source, sizes, self.seed)
            before, after = (run(session, feeds) for session in sessions)
            error = gap(after, before)
            assert error < TOLERANCE, f"another order of channels changes the outputs by {error:.2e} at {sizes}"

    def well_formed(self) -> None:
        """The emitted graph passes onnx.checker; names of inputs, outputs and surviving nodes are those of before."""
        onnx.checker.check_model(self.slim)
        before = self.item.model.to_proto().graph
        for part in ("input", "output"):
            assert [v.name for v in getattr(self.slim.graph, part)] == [v.name for v in getattr(before, part)]
        names = {node.name for node in before.node}
        lost = names - {node.name for node in self.slim.graph.node}
        assert not lost, f"nodes were renamed or lost: {sorted(lost)}"
        read = {name for node in self.slim.graph.node for name in node.input}
        written = {t.name for t in self.slim.graph.initializer} | {
            n for node in self.slim.graph.node for n in node.output
        }
        assert read - {""} <= written | {v.name for v in self.slim.graph.input}

    def inferred_shapes_are_those_of_the_run(self) -> None:
        """Strict shape inference at concrete sizes never contradicts what onnxruntime gives."""
        feeds = feeds_of(self.source, SIZES[1], self.seed)
        fixed = recount.at_sizes(self.slim, {name: array.shape for name, array in feeds.items()})
        seen = capture(self.slim, feeds).shapes
        for value in [*fixed.graph.value_info, *fixed.graph.output]:
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
                inferred = tuple(d.dim_value for d in dims)
                assert inferred == seen[value.name], f"{value.name}: inferred {inferred}, ran {seen[value.name]}"

    def costs_are_as_planned(self) -> None:
        """Polynomials at the plan equal the recount of the emitted graph, and an independent count."""
        slim = prune(self.item.model, self.item.analysis, self.plan)
        feeds = feeds_of(self.source, {"N": 1, "T": _planned_length(self)}, self.seed)
        shapes = capture(self.slim, feeds).shapes
        counts = {name: len(kept) for name, kept in self.plan.kept.items()}
        independent = {
            "flops": recount.macs_of(self.slim, shapes),
            "params": recount.params(self.slim),
        }
        for resource, count in independent.items():
            cost = COSTS.get(resource)()
            planned = cost.polynomial(self.item.analysis, self.item.model)(counts)
            recounted = cost.recount(slim, shapes)
            assert abs(planned - recounted) <= 1e-9 * abs(recounted), (
                f"{resource}: {planned} planned, {recounted} found"
            )
            assert abs(planned - count) <= 1e-9 * abs(count), f"{resource}: {planned} planned, {count} counted"

    def same_plan_gives_the_same_bytes(self) -> None:
        """Pruning once more, from the source on, gives the same file."""
        again = in_mode(analysed(self.source), approximate=any(g.approximate for g in self.item.analysis.groups))
        slim = prune(again.model, again.analysis, self.plan).to_proto()
        assert slim.SerializeToString(deterministic=True) == self.slim.SerializeToString(deterministic=True)

    def counterpart_agrees(self) -> None:
        """The PyTorch counterpart of the pruned model gives what onnxruntime gives."""
        feeds = feeds_of(self.source, SIZES[1], self.seed)
        error = gap(predict(to_torch(self.slim), feeds), run(make_session(self.slim, optimize=False, threads=1), feeds))
        assert error < TOLERANCE, f"PyTorch and onnxruntime differ by {error:.2e}"


def _planned_length(case: Case) -> int:
    """Returns the length that the analysis saw, at which its costs count."""
    first = case.item.analysis.inference.shapes.first
    lengths = [
        first[value.name][axis]
        for value in case.source.graph.input
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if dim.dim_param == "T"
    ]
    return lengths[0] if lengths else 1


def case_of(source: onnx.ModelProto, item: Analysed, seed: int, *, single: bool = False) -> Case:
    """Returns the model pruned to a random half of every group, or to a single channel of each."""
    plan = random_plan(item.analysis, seed, share=1e-9 if single else 0.5)
    masked = masked_model(item.model, item.analysis, plan).to_proto()
    slim = prune(item.model, item.analysis, plan).to_proto()
    return Case(source, item, plan, masked, slim, seed)
