"""Running the analysis, the surgery and the certificate on a model in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnxprune.core.plan import Plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.graph.check import check_with_onnx
from onnxprune.groups import Analysis, analyse, masked_model, prune
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.runtime import make_session, run


@dataclass(frozen=True)
class Analysed:
    """A model with its analysis."""

    model: Model
    analysis: Analysis

    def group(self, node: str) -> str:
        """Returns the name of the one group that `node` produces."""
        names = [g.name for g in self.analysis.groups if any(m.node == node for m in g.producers)]
        assert len(names) == 1, f"{node} produces {names}"
        return names[0]

    def reasons(self, node: str) -> str:
        """Returns all reasons why channels of `node`'s weight are frozen."""
        return "; ".join(
            reason for f in self.analysis.frozen for reason in f.reasons if any(m.node == node for m in f.members)
        )


def analysed(proto: onnx.ModelProto, *, approximate: bool = False) -> Analysed:
    """Returns the model after folding, with its analysis."""
    bench = Bench()
    run_passes([ImportModel(proto), FoldConstants(), FindShapes(), FindGroups(approximate)], bench)
    return Analysed(bench.take("model", Model), bench.take("analysis", Analysis))


def in_mode(item: Analysed, *, approximate: bool) -> Analysed:
    """Returns a model with its analysis in the other mode, without running it again."""
    shapes = item.analysis.inference.shapes
    return Analysed(item.model, analyse(item.model, shapes, approximate=True)) if approximate else item


def random_plan(analysis: Analysis, seed: int = 0, share: float = 0.6) -> Plan:
    """Returns a plan that keeps a random `share` of every group, at least one channel."""
    rng = np.random.default_rng(seed)
    kept = {
        g.name: tuple(sorted(int(i) for i in rng.choice(g.size, max(1, round(g.size * share)), replace=False)))
        for g in analysis.groups
    }
    return Plan("", analysis.sizes, kept)


def plan_of(analysis: Analysis, kept: Mapping[str, tuple[int, ...]]) -> Plan:
    """Returns a plan that keeps `kept` and every channel of all other groups."""
    whole = {g.name: tuple(range(g.size)) for g in analysis.groups}
    return Plan("", analysis.sizes, whole | dict(kept))


def disagreement(item: Analysed, plan: Plan, batches: tuple[int, ...] = (1, 3), seed: int = 0) -> float:
    """Returns max |masked - slim| / max |masked| over outputs and batch sizes."""
    masked = masked_model(item.model, item.analysis, plan).to_proto()
    slim = prune(item.model, item.analysis, plan).to_proto()
    check_with_onnx(slim, "the pruned model")
    sessions = [make_session(proto, optimize=False, threads=1) for proto in (masked, slim)]
    rng = np.random.default_rng(seed)
    worst = 0.0
    for batch in batches:
        feeds = {i.name: _random_input(i, batch, rng) for i in masked.graph.input}
        a, b = (run(session, feeds) for session in sessions)
        for name, reference in a.items():
            assert reference.shape == b[name].shape
            assert np.isfinite(reference).all()
            assert np.isfinite(b[name]).all()
            scale = float(np.abs(reference).max(initial=0)) + 1e-9
            worst = max(worst, float(np.abs(reference - b[name]).max()) / scale)
    return worst


def _random_input(value: onnx.ValueInfoProto, batch: int, rng: np.random.Generator) -> np.ndarray:
    kind = value.type.tensor_type
    shape = [dim.dim_value or batch for dim in kind.shape.dim]
    if kind.elem_type == onnx.TensorProto.FLOAT:
        return rng.standard_normal(shape).astype(np.float32)
    return rng.integers(0, 2, shape).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
