"""What the three public calls give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxprune.core.group import FrozenAxis, Group
from onnxprune.core.plan import Plan

__all__ = ["Inspection", "Prunable", "Result"]


@dataclass(frozen=True)
class Prunable:
    """The part of a cost that runs over channels that can go, as a share of all.

    Attributes:
        exact: Over channels whose removal is exact.
        approximate: Over these and those whose removal is an approximation; None where
            approximate removal was not asked for.
    """

    exact: float
    approximate: float | None = None


@dataclass(frozen=True)
class Inspection:
    """What can be pruned in a model, what cannot, and why.

    `onnxprune inspect --json` prints this, each record as an object under the names of its
    fields: `Group`, `Member` and `FrozenAxis` (`onnxprune.core.group`), `Prunable`. Tuples are
    lists, mappings are objects. Fields keep their names; new ones may be added.

    Attributes:
        model: Path of the file, or "" for a model in memory.
        inputs: Input name → (dtype, shape); a dynamic dimension by its name, "?" without one.
        outputs: Output name → the same.
        opset: Version of the default operator set.
        macs: Multiply-accumulates of one input sample.
        params: Number of parameters.
        size_bytes: Bytes of weights.
        groups: Prunable groups of coupled channels, in graph order.
        group_macs: Group name → MACs that run over its channels, as a share of all. What lies
            between two groups counts for both.
        frozen: Channels of weights that stay, with reasons, and the operators from the weight
            to what each reason names.
        reachable: Resource ("flops", "params", "size") → (smallest reachable share of the
            original, 1.0).
        unknown_ops: Operator type without a rule, "domain::type" outside the standard →
            number of nodes.
        notes: What was noticed on the way.
        group_params: Group name → parameters that run over its channels, as `group_macs`.
        prunable: Resource ("flops", "params") → the share that runs over at least one group.
    """

    model: str
    inputs: Mapping[str, tuple[str, tuple[int | str, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int | str, ...]]]
    opset: int
    macs: float
    params: float
    size_bytes: int
    groups: tuple[Group, ...]
    group_macs: Mapping[str, float]
    frozen: tuple[FrozenAxis, ...]
    reachable: Mapping[str, tuple[float, float]]
    unknown_ops: Mapping[str, int]
    notes: tuple[str, ...] = ()
    group_params: Mapping[str, float] = field(default_factory=dict)
    prunable: Mapping[str, Prunable] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A finished `compress`.

    Attributes:
        path: Where the slim model was written, or None when only in memory.
        plan: The plan that was carried out; None where nothing was pruned.
        report: The content of report.json.
        model: The slim model as an onnx.ModelProto when the caller gave one or a module, else None.
        points: Of a curve, the results one by one; `path` and `plan` are None then, and `report` is the curve.
    """

    path: Path | None
    plan: Plan | None
    report: Mapping[str, Any]
    model: Any = None
    points: tuple[Result, ...] = ()
