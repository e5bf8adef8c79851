"""Which tensors of a graph the program keeps as Python integers.

Sizes, and what is worked out of sizes, end in the shape of a Reshape or the bounds of a Slice.
As tensors they cost a kernel per addition, wait for the device wherever a shape is read, and
stop a compiler. So every integer vector or scalar that is computed from shapes and small
constants alone is held as a tuple or an int (in a traced program: symbolic integers), by the
rules of `onnxprune.bridge.host_rules`. What depends on constants only is worked out once, here.
A node that has no such rule and takes no plain integers gets a tensor made from them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from onnxprune.bridge.host_rules import HOST_RULES, HostNode, HostType, HostValue, Known
from onnxprune.graph import Model

__all__ = ["HostPlan", "HostStep", "host_tensor", "plan_host"]

_LONGEST = 64
_TYPES = {np.dtype(np.int64): torch.int64, np.dtype(np.int32): torch.int32, np.dtype(np.bool_): torch.bool}


@dataclass(frozen=True)
class HostStep:
    """A node that is evaluated on Python integers.

    Attributes:
        function: From the inputs to the one output.
        plain: For each input whether it is a Python value (else a tensor, of which the shape is read).
    """

    function: Callable[..., HostValue]
    plain: tuple[bool, ...]


@dataclass
class HostPlan:
    """What is kept as Python integers.

    Attributes:
        types: Tensor name → what it is, for computed tensors and initializers.
        values: Tensor name → value, for those that depend on constants only.
        steps: id of a node → how it is evaluated; nodes whose output is in `values` are not among them.
    """

    types: dict[str, HostType] = field(default_factory=dict)
    values: dict[str, HostValue] = field(default_factory=dict)
    steps: dict[int, HostStep] = field(default_factory=dict)


def plan_host(model: Model, known: Collection[str]) -> HostPlan:
    """Returns what of `model` can be kept as Python integers.

    Args:
        model: The model.
        known: Names of its initializers.
    """
    plan = HostPlan()
    for name, constant in model.initializers().items():
        dtype = _TYPES.get(np.dtype(constant.dtype))
        shape = tuple(int(size) for size in constant.shape)
        if name in known and dtype is not None and len(shape) < 2 and sum(shape) <= _LONGEST:
            entries = [v.item() for v in np.asarray(model.read(name)).reshape(-1)]
            plan.types[name] = HostType(dtype, len(shape), shape[0] if shape else None)
            plan.values[name] = tuple(entries) if shape else entries[0]
    for node in model.nodes:
        _plan_node(node, plan, model)
    return plan


def _plan_node(node: gs.Node, plan: HostPlan, model: Model) -> None:
    rule = HOST_RULES.get(node.op) if (node.domain or "") in ("", "ai.onnx") else None
    if rule is None or len(node.outputs) != 1:
        return
    names = [tensor.name for tensor in node.inputs]
    found = rule(
        HostNode(
            node.op,
            dict(node.attrs),
            model.opset_of(node.domain or ""),
            tuple(plan.types.get(name) for name in names),
            tuple(plan.values.get(name) for name in names),
            tuple(bool(name) for name in names),
            tuple(None if tensor.shape is None else len(tensor.shape) for tensor in node.inputs),
        )
    )
    if found is None:
        return
    function, kind = found
    output = node.outputs[0].name
    plan.types[output] = kind
    if isinstance(function, Known) or all(name in plan.values for name in names if name):
        plan.values[output] = function(*(plan.values.get(name) for name in names))
    else:
        plan.steps[id(node)] = HostStep(function, tuple(name in plan.types for name in names))


def host_tensor(value: Any, kind: HostType, device: torch.device | None = None) -> torch.Tensor:
    """Returns a Python value as the tensor that the graph means."""
    return torch.tensor(value, dtype=kind.dtype, device=device)
