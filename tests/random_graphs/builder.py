"""Grows an ONNX graph, one step at a time.

A step looks at the builder's newest tensors and adds nodes behind them. `rng` is set anew before
each step, so that dropping one step leaves the choices of the others as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Builder", "Map", "Signal"]

NEWEST = 4
"""Steps read one of so many newest tensors."""


@dataclass(frozen=True)
class Map:
    """A feature map [N, channels, *sizes]."""

    name: str
    channels: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Signal:
    """A sequence [N, T, channels]; `length` is None where T is dynamic."""

    name: str
    channels: int
    length: int | None


class Builder:
    """Nodes, weights and the tensors that steps may read.

    Attributes:
        opset: Version of the default operator set.
        rng: Draws the choices of the current step.
        old: Whether sizes are computed at run time, as the old exporter writes them.
        items: Tensors that steps may read, newest last.
    """

    def __init__(self, opset: int, *, old: bool) -> None:
        self.opset = opset
        self.old = old
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.items: list[Any] = []
        self._count = 0

    def chance(self, share: float) -> bool:
        """Returns True in a `share` of cases."""
        return bool(self.rng.random() < share)

    def choose(self, *options: int) -> int:
        """Returns one of `options`."""
        return int(options[int(self.rng.integers(len(options)))])

    def pick(self) -> Any:
        """Returns one of the newest tensors: a Map in graphs of maps, a Signal in graphs of sequences."""
        return self.items[int(self.rng.integers(max(0, len(self.items) - NEWEST), len(self.items)))]

    def input(self, name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> str:
        """Adds an input of the model."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """Adds an initializer of a given value."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        """Adds an int64 vector."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """Adds a float32 scalar."""
        return self.constant(np.array(value, dtype=np.float32))

    def kernel(self, *shape: int, fan: int = 0) -> str:
        """Adds a weight whose sums over `fan` terms (all but the first axis) have unit variance."""
        bound = np.sqrt(3 / max(1, fan or int(np.prod(shape[1:]))))
        return self.constant((self.rng.uniform(-1, 1, shape) * bound).astype(np.float32))

    def vector(self, *shape: int) -> str:
        """Adds weights away from zero and from one another."""
        return self.constant(self.rng.uniform(0.3, 1.3, shape).astype(np.float32))

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """Adds a node and returns its first output."""
        return self.add_many(op, *inputs, outputs=outputs, domain=domain, **attributes)[0]

    def add_many(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Adds a node and returns its outputs."""
        self._count += 1
        names = [f"t{self._count}_{i}" for i in range(outputs)]
        name = f"{op.lower()}_{self._count}"
        self.nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return names

    def put(self, name: str, channels: int, shape: tuple[int, ...] | int | None) -> None:
        """Offers a tensor to later steps: a map when `shape` is a tuple, a signal otherwise."""
        item = Map(name, channels, shape) if isinstance(shape, tuple) else Signal(name, channels, shape)
        self.items.append(item)

    def size(self, name: str, axis: int) -> str:
        """Returns int64 [1], the size of an axis read at run time as the old exporter reads it."""
        index = self.constant(np.array(axis, dtype=np.int64))
        scalar = self.add("Gather", self.add("Shape", name), index, axis=0)
        return self.add("Unsqueeze", scalar, self.integers(0))

    def reshape(self, name: str, target: Sequence[int]) -> str:
        """Reshapes; 0 in `target` copies the size of that axis, -1 infers one."""
        if not self.old:
            return self.add("Reshape", name, self.integers(*target))
        parts = [self.size(name, axis) if size == 0 else self.integers(size) for axis, size in enumerate(target)]
        return self.add("Reshape", name, self.add("Concat", *parts, axis=0))

    def statistics(self, name: str, op: str, *axes: int) -> str:
        """Reduces over `axes` and keeps them, in the form of the operator set."""
        if op == "ReduceSum" or self.opset >= 18:
            return self.add(op, name, self.integers(*axes), keepdims=1)
        return self.add(op, name, axes=list(axes), keepdims=1)
