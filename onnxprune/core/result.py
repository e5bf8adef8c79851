"""What the three public calls give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.core.group import FrozenAxis, Group
from onnxprune.core.plan import Plan

__all__ = ["Inspection", "Result"]


@dataclass(frozen=True)
class Inspection:
    """What can be pruned in a model, what cannot, and why.

    Attributes:
        model: File name, or "" for a model in memory.
        inputs: Input name → (dtype, shape with dynamic dimensions by name).
        outputs: Output name → the same.
        opset: Version of the default operator set.
        macs: Multiply-accumulates of one input sample.
        params: Number of parameters.
        size_bytes: Bytes of weights.
        groups: Prunable groups of coupled channels.
        group_macs: Group name → MACs of the nodes it runs through, as a share of all.
        frozen: Channels that stay, with reasons.
        reachable: Resource → (smallest reachable share of the original, 1.0).
        unknown_ops: Operator types without a rule → number of nodes.
        notes: What was noticed on the way.
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


@dataclass(frozen=True)
class Result:
    """A finished `compress`.

    Attributes:
        path: Where the slim model was written, or None when only in memory.
        plan: The plan that was carried out.
        report: The content of report.json.
        model: The slim model as an onnx.ModelProto when the caller gave one, else None.
    """

    path: Path | None
    plan: Plan
    report: Mapping[str, Any]
    model: Any = None
