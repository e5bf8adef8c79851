"""Removing channels of one operator equals masking them, whatever stands around it (see `surrounded`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import onnx
import pytest
from node_cases import NodeCase, all_cases
from oracle import node_runner
from pruning import Analysed, random_plan
from surrounded import FEEDS, Inputs, analysed_between_weights, between_weights

from onnxprune.core.errors import OnnxPruneError
from onnxprune.core.plan import Plan
from onnxprune.groups import analyse, masked_model, prune
from onnxprune.ops import OPS
from onnxprune.runtime import make_session, run

RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Of a float32 sum of at most some hundred products of size one."""

FIRST: tuple[Inputs, ...] = ("first zero", "all finite")
ALL: tuple[Inputs, ...] = ("first zero", "first finite", "all zero", "all finite")
RANDOM = ("test_training_dropout",)
WITHOUT_CASES = {
    "com.microsoft::BiasAdd": "onnxruntime runs it on GPUs alone",
    "com.microsoft::BiasSplitGelu": "onnxruntime runs it on GPUs alone",
}
KEEPS_ALL = {
    "::Acosh": "infinite or undefined at zero",
    "::AffineGrid": "reads sizes",
    "::EyeLike": "its ones stand where both positions agree",
    "::GridSample": "its cases have one channel, or none that a weight gives",
    "::Log": "infinite at zero",
    "::NonMaxSuppression": "picks boxes by their values",
    "::NonZero": "gives positions",
    "::Range": "reads numbers, not channels",
    "::Reciprocal": "infinite at zero",
    "::ReduceLogSum": "infinite at zero, and its cases reduce what is left",
    "::ReduceLogSumExp": "an exponential of zero counts",
    "::ReduceProd": "a product with zero is zero, and its cases reduce what is left",
    "::RoiAlign": "its cases have one channel",
    "::Size": "counts elements",
    "::Unique": "its order depends on values",
}
"""Operators that keep every channel in every case, and why."""


def _runs(model: onnx.ModelProto) -> bool:
    try:
        run(make_session(model, optimize=False, threads=1), FEEDS)
    except OnnxPruneError:
        return False
    return True


def models(operator: str, inputs: tuple[Inputs, ...], most: int | None) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yields models around the nodes of an operator's cases, those that onnxruntime runs."""
    for case in _spread([c for c in all_cases()[operator] if not c.name.startswith(RANDOM)], most):
        outputs = node_runner(case)(case.inputs)
        if not any(np.size(array) for array in outputs.values()):
            continue
        for kind in inputs:
            model = between_weights(case, outputs, kind)
            if _runs(model):
                yield f"{case.name} ({kind})", model


def _spread(cases: list[NodeCase], most: int | None) -> list[NodeCase]:
    """Returns `most` cases, from the first to the last."""
    if most is None or len(cases) <= most:
        return cases
    return [cases[int(i)] for i in np.linspace(0, len(cases) - 1, most)]


def in_both_modes(model: onnx.ModelProto) -> Iterator[Analysed]:
    """Yields the analysis, and the approximate one where it has more groups."""
    exact = analysed_between_weights(model, approximate=False)
    yield exact
    approximate = analyse(exact.model, exact.analysis.inference.shapes, approximate=True)
    if any(group.approximate for group in approximate.groups):
        yield Analysed(exact.model, approximate)


def assert_masked_is_pruned(item: Analysed, plan: Plan, where: str) -> None:
    """Asserts that the sums of the masked and of the pruned model agree."""
    sums = [
        run(make_session(model.to_proto(), optimize=False, threads=1), FEEDS)
        for model in (masked_model(item.model, item.analysis, plan), prune(item.model, item.analysis, plan))
    ]
    for name, masked in sums[0].items():
        error = abs(float(masked) - float(sums[1][name]))
        assert error <= RELATIVE * abs(float(masked)) + ABSOLUTE or not np.isfinite(masked), (where, name, sums, plan)


def check(operator: str, inputs: tuple[Inputs, ...], most: int | None) -> int:
    """Checks an operator by plans that keep half and one channel of every group; returns the number of groups."""
    groups = 0
    for name, model in models(operator, inputs, most):
        for item in in_both_modes(model):
            groups += len(item.analysis.groups)
            for share in (0.5, 1e-9) if item.analysis.groups else ():
                assert_masked_is_pruned(item, random_plan(item.analysis, 0, share), name)
    return groups


@cache
def operators() -> list[str]:
    """Returns the operators that have cases."""
    return sorted(all_cases())


def test_every_operator_has_cases():
    assert set(OPS.names()) - all_cases().keys() == WITHOUT_CASES.keys()


@pytest.mark.parametrize("operator", operators())
def test_masked_is_pruned_in_some_cases(operator):
    check(operator, FIRST, most=3)


@pytest.mark.slow
@pytest.mark.parametrize("operator", operators())
def test_masked_is_pruned_in_all_cases(operator):
    groups = check(operator, ALL, most=None)
    if operator in KEEPS_ALL:
        assert groups == 0, "no longer an exception"
    else:
        assert groups > 0, "nothing was removed in any case"
