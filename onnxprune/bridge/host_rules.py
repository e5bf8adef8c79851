"""Operators on Python integers: a scalar is an int, a vector a tuple.

Each rule looks at the types and the constant values of a node's inputs, and gives the function
and the type of its output, or None where the node must be run on tensors: because an input is
one, because the result would have two axes or more, or because it would be a float. Functions
hold to what ONNX defines (division truncates, a slice clamps) and take symbolic integers too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from onnxprune.ops.identity import torch_dtype

__all__ = ["HOST_RULES", "HostNode", "HostType", "HostValue", "Known"]

HostValue = int | tuple[int, ...]
HostFunction = Callable[..., Any]


@dataclass(frozen=True)
class HostType:
    """What a value stands for.

    Attributes:
        dtype: int64, int32 or bool.
        rank: 0 or 1.
        length: Entries of a vector, where known.
    """

    dtype: torch.dtype
    rank: int
    length: int | None = None


@dataclass(frozen=True)
class Known:
    """A function that gives `value` whatever the inputs are."""

    value: HostValue

    def __call__(self, *_: Any) -> HostValue:
        return self.value


@dataclass(frozen=True)
class HostNode:
    """What a rule may ask; one entry per input.

    Attributes:
        op: The operator.
        attrs: Its attributes.
        opset: Version of its operator set.
        types: Types; None for tensors and absent inputs.
        values: Values, where they are constant.
        present: Which inputs the node has.
        ranks: Numbers of axes, where the model declares them.
    """

    op: str
    attrs: dict[str, Any]
    opset: int
    types: tuple[HostType | None, ...]
    values: tuple[HostValue | None, ...]
    present: tuple[bool, ...]
    ranks: tuple[int | None, ...]

    def all_plain(self) -> list[HostType] | None:
        """Returns the types of all inputs, or None where one is a tensor."""
        found = [kind for kind, there in zip(self.types, self.present, strict=True) if there]
        plain = [kind for kind in found if kind is not None]
        return plain if plain and len(plain) == len(found) else None

    def integers(self, name: str, slot: int) -> list[int] | None:
        """Returns constant integers that older versions keep in an attribute and newer ones in an input."""
        value = self.attrs.get(name)
        if value is None and slot < len(self.values):
            value = self.values[slot]
        if value is None:
            return None
        return list(value) if isinstance(value, (list, tuple)) else [int(value)]


Found = tuple[HostFunction, HostType] | None
Rule = Callable[[HostNode], Found]
_INTEGERS = (torch.int64, torch.int32)
_BOTH_WAYS: dict[str, HostFunction] = {
    "Add": operator.add,
    "And": lambda x, y: x and y,
    "Div": lambda x, y: _truncated(x, y),
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Max": lambda x, y: max(x, y),
    "Min": lambda x, y: min(x, y),
    "Mod": operator.mod,
    "Mul": operator.mul,
    "Or": lambda x, y: x or y,
    "Sub": operator.sub,
}
_LOGICAL = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or")
_UNARY: dict[str, HostFunction] = {"Abs": abs, "Neg": operator.neg, "Not": operator.not_}
_REDUCTIONS: dict[str, HostFunction] = {
    "ReduceMax": max,
    "ReduceMin": min,
    "ReduceProd": math.prod,
    "ReduceSum": sum,
}


def _truncated(x: Any, y: Any) -> Any:
    # not (x >= 0) == (y > 0): a tracer has no equality of two symbolic truths
    alike = x >= 0 if y > 0 else x < 0
    return x // y if alike else -(-x // y)


def _broadcast(function: HostFunction, *values: Any) -> Any:
    """Applies a function of scalars entry by entry, stretching scalars and vectors of one entry."""
    lengths = {len(value) for value in values if isinstance(value, tuple)}
    if not lengths:
        return function(*values)
    size = max(lengths) if 0 not in lengths else 0
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    stretched = [row * size if len(row) == 1 else row for row in rows]
    return tuple(function(*entries) for entries in zip(*stretched, strict=True))


def _common(kinds: list[HostType], dtype: torch.dtype) -> HostType:
    vectors = [kind for kind in kinds if kind.rank]
    lengths = {kind.length for kind in vectors} - {1}
    length = next(iter(lengths)) if len(lengths) == 1 else 1 if vectors and not lengths else None
    return HostType(dtype, 1 if vectors else 0, length)


def _shape(node: HostNode) -> Found:
    start, end = node.attrs.get("start", 0), node.attrs.get("end")
    kind = node.types[0]
    if kind is None:
        # a Squeeze without axes, as exporters put behind the size of one axis, needs the length
        length = None if node.ranks[0] is None else len(range(node.ranks[0])[start:end])
        return lambda x: tuple(x.shape[start:end]), HostType(torch.int64, 1, length)
    if kind.rank and kind.length is None:
        return lambda x: (len(x),)[start:end], HostType(torch.int64, 1)
    whole = (() if kind.length is None else (kind.length,))[start:end]
    return Known(whole), HostType(torch.int64, 1, len(whole))


def _size(node: HostNode) -> Found:
    if node.types[0] is not None:
        return None
    return lambda x: math.prod(x.shape), HostType(torch.int64, 0)


def _same(node: HostNode) -> Found:
    kinds = node.all_plain()
    return None if kinds is None else (lambda x: x, kinds[0])


def _cast(node: HostNode) -> Found:
    kinds, target = node.all_plain(), node.attrs["to"]
    if kinds is None:
        return None
    dtype = torch_dtype(target) if target in (1, 6, 7, 9) or not isinstance(target, int) else None
    if dtype is torch.bool:
        return (lambda x: _broadcast(lambda v: v != 0, x)), HostType(dtype, kinds[0].rank, kinds[0].length)
    if dtype not in _INTEGERS:
        return None
    kind = HostType(dtype, kinds[0].rank, kinds[0].length)
    if kinds[0].dtype is torch.bool:
        return (lambda x: _broadcast(lambda v: 1 if v else 0, x)), kind
    if dtype is torch.int32 and kinds[0].dtype is torch.int64:
        return (lambda x: _broadcast(_wrapped, x)), kind
    return (lambda x: x), kind


def _wrapped(v: Any) -> Any:
    """An int64 as int32; a symbolic one is a size, which fits."""
    return (v + 2**31) % 2**32 - 2**31 if isinstance(v, int) else v


def _unary(node: HostNode) -> Found:
    kinds = node.all_plain()
    function = _UNARY[node.op]
    return None if kinds is None else (lambda x: _broadcast(function, x), kinds[0])


def _both_ways(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None or len(kinds) != 2 or node.attrs.get("fmod"):
        return None
    if node.op not in ("And", "Equal", "Or") and kinds[0].dtype not in _INTEGERS:
        return None
    function = _BOTH_WAYS[node.op]
    dtype = torch.bool if node.op in _LOGICAL else kinds[0].dtype
    return (lambda x, y: _broadcast(function, x, y)), _common(kinds, dtype)


def _where(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None:
        return None
    return (lambda c, x, y: _broadcast(lambda a, b, d: b if a else d, c, x, y)), _common(kinds, kinds[1].dtype)


def _concat(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None or any(kind.rank != 1 for kind in kinds):
        return None
    lengths = [kind.length for kind in kinds if kind.length is not None]
    length = sum(lengths) if len(lengths) == len(kinds) else None
    return (lambda *xs: tuple(v for x in xs for v in x)), HostType(kinds[0].dtype, 1, length)


def _gather(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None or kinds[0].rank != 1:
        return None
    kind = HostType(kinds[0].dtype, kinds[1].rank, kinds[1].length)
    if kind.rank == 0:
        return (lambda x, i: x[i]), kind
    return (lambda x, index: tuple(x[i] for i in index)), kind


def _slice(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None or kinds[0].rank != 1:
        return None
    if node.opset < 10:
        starts, ends = node.integers("starts", 9), node.integers("ends", 9)
        if starts is None or ends is None or len(starts) != 1:
            return None
        return operator.itemgetter(slice(starts[0], ends[0])), HostType(kinds[0].dtype, 1)
    if any(kind.rank != 1 or kind.length != 1 for kind in kinds[1:]):
        return None
    length = None
    first, last, step = (*node.values[1:3], node.values[4] if len(node.values) > 4 else (1,))
    if kinds[0].length is not None and all(isinstance(v, tuple) for v in (first, last, step)):
        length = len(range(kinds[0].length)[first[0] : last[0] : step[0]])  # type: ignore[index]  # all are tuples

    def cut_out(
        x: tuple[int, ...], start: tuple[int], end: tuple[int], axes: Any = None, steps: tuple[int] | None = None
    ) -> tuple[int, ...]:
        return x[start[0] : end[0] : 1 if steps is None else steps[0]]

    return cut_out, HostType(kinds[0].dtype, 1, length)


def _squeeze(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None or kinds[0].rank != 1:
        return None
    if node.integers("axes", 1) not in ([0], [-1]) and kinds[0].length != 1:
        return None
    return (lambda x, *_: x[0]), HostType(kinds[0].dtype, 0)


def _unsqueeze(node: HostNode) -> Found:
    kinds, axes = node.all_plain(), node.integers("axes", 1)
    if kinds is None or kinds[0].rank != 0 or axes is None or len(axes) != 1:
        return None
    return (lambda x, *_: (x,)), HostType(kinds[0].dtype, 1, 1)


def _reshape(node: HostNode) -> Found:
    kinds, target = node.all_plain(), node.integers("shape", 1)
    if kinds is None or target is None or len(target) > 1 or (target and target[0] == 0):
        return None
    if not target:
        return (lambda x, *_: x[0] if isinstance(x, tuple) else x), HostType(kinds[0].dtype, 0)
    kind = HostType(kinds[0].dtype, 1, kinds[0].length if kinds[0].rank else 1)
    return (lambda x, *_: x if isinstance(x, tuple) else (x,)), kind


def _reduce(node: HostNode) -> Found:
    kinds = node.all_plain()
    if kinds is None or kinds[0].rank != 1 or kinds[0].dtype not in _INTEGERS or node.attrs.get("noop_with_empty_axes"):
        return None
    function = _REDUCTIONS[node.op]
    if node.attrs.get("keepdims", 1):
        return (lambda x, *_: (function(x),)), HostType(kinds[0].dtype, 1, 1)
    return (lambda x, *_: function(x)), HostType(kinds[0].dtype, 0)


def _constant_of_shape(node: HostNode) -> Found:
    shape, fill = node.integers("", 0), node.attrs.get("value")
    if fill is None:
        return None
    value: int = fill.values.reshape(-1)[0].item()
    dtype = {"int64": torch.int64, "int32": torch.int32, "bool": torch.bool}.get(fill.values.dtype.name)
    if shape is None or dtype is None or len(shape) > 1 or sum(shape) > 64:
        return None
    whole = (value,) * shape[0] if shape else value
    return Known(whole), HostType(dtype, len(shape), shape[0] if shape else None)


HOST_RULES: dict[str, Rule] = {
    **dict.fromkeys(_BOTH_WAYS, _both_ways),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(_UNARY, _unary),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Gather": _gather,
    "Identity": _same,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
"""Operator type → its rule, for every version of the operator."""
