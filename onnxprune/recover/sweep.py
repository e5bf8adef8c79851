"""One pass through the pruned net, layer by layer, each layer set right as it is reached.

The original and the pruned net walk forward together over the calibration samples. When the
pruned net reaches a layer, everything before it is recovered already, and the original shows
what the layer should give. Later layers therefore make up for the errors that earlier ones
leave, and a sweep costs one run of each net.

The target of a layer is the original's output at the kept channels. Where the result is added
to a residual branch, it is the original's sum minus the pruned net's branch, so that the layer
also makes up for what the branch lost (He, Zhang, Sun 2017, section 3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.axes.keep import BoolArray
from onnxprune.bridge.linear import LinearLayer
from onnxprune.bridge.rows import layer_rows, to_matrix
from onnxprune.bridge.walk import Walk
from onnxprune.graph import Model
from onnxprune.recover.outputs import output_error, output_producers

if TYPE_CHECKING:
    import torch

__all__ = ["Calibration", "Cuts", "Rows", "Sweep"]

Float64 = NDArray[np.float64]
Cuts = Callable[[str], Sequence[tuple[int, BoolArray]]]
"""Tensor name → (axis, keep mask) of each axis that lost channels."""


@dataclass(frozen=True)
class Calibration:
    """Samples to recover from.

    Attributes:
        batches: Input name → array, one mapping per batch.
        fit: Number of leading batches that changes are fitted on; the others are held out.
    """

    batches: tuple[Mapping[str, NDArray[Any]], ...]
    fit: int

    def sizes(self) -> list[int]:
        """Returns the samples of each batch."""
        return [max(len(array) if array.ndim else 1 for array in batch.values()) for batch in self.batches]


@dataclass(frozen=True)
class Rows:
    """Rows of one batch (see `onnxprune.bridge.rows`).

    Attributes:
        x: What the layer sees, float64 [group, rows, columns].
        y: What it gives, float64 [group, rows, outputs].
        aim: What it should give, likewise.
        held_out: Whether the batch is held out.
    """

    x: Float64
    y: Float64
    aim: Float64
    held_out: bool


class Sweep:
    """The two nets on their way through the calibration samples.

    Args:
        model: The original.
        slim: The pruned model; not changed.
        calibration: The samples.
        cuts: What each of the original's tensors lost.
        aims: The original's tensors that will be asked for, once per time.

    Attributes:
        changed: Initializer → its new value, for all that was set.
    """

    def __init__(self, model: Model, slim: Model, calibration: Calibration, cuts: Cuts, aims: Sequence[str]) -> None:
        self.changed: dict[str, NDArray[Any]] = {}
        self._slim = slim
        self._calibration = calibration
        self._cuts = cuts
        self._left = Counter(aims)
        self._teacher = Walk(model, calibration.batches, keep=set(aims))
        self._student = Walk(slim, calibration.batches)

    def read(self, name: str) -> NDArray[Any]:
        """Returns the present value of an initializer of the pruned model."""
        return self.changed[name] if name in self.changed else self._slim.read(name)

    def set(self, values: Mapping[str, Float64]) -> bool:
        """Changes initializers, each stored in its own element type; returns False, with nothing done, on overflow."""
        stored = {}
        for name, value in values.items():
            old = self.read(name)
            with np.errstate(over="ignore"):
                stored[name] = value.reshape(old.shape).astype(old.dtype)
        if not all(np.isfinite(value.astype(np.float64)).all() for value in stored.values()):
            return False
        for name, value in stored.items():
            self._student.assign(name, value)
        self.changed |= stored
        return True

    def arrive(self, node_output: str, aims: Sequence[str]) -> None:
        """Moves the pruned net to just before the node that gives `node_output`, the original past `aims`."""
        self._student.before(node_output)
        for aim in aims:
            self._teacher.through(aim)

    def leave(self, aims: Sequence[str]) -> None:
        """Lets go of tensors of the original that were asked for once."""
        self._left.subtract(aims)
        for aim in aims:
            if self._left[aim] == 0:
                self._teacher.drop(aim)

    def inputs(self, name: str) -> list[torch.Tensor]:
        """Returns a tensor of the pruned net, one per batch."""
        return self._student.tensors(name)

    def targets(self, name: str) -> list[torch.Tensor]:
        """Returns a tensor of the original at the kept channels, one per batch."""
        return [_cut(tensor, self._cuts(name)) for tensor in self._teacher.tensors(name)]

    def aims(self, layer: LinearLayer, *, total: bool = True) -> list[torch.Tensor]:
        """Returns what a layer should give, one tensor per batch.

        Args:
            layer: The sweep has arrived at it.
            total: Whether it makes up for what its residual branch lost; not where adding the
                branch repeats it.
        """
        plain = self.targets(layer.plain)
        if total and layer.residual:
            sums, branches = self.targets(layer.total), self.inputs(layer.residual)
            # where the Add stretches one side, no row of the sum is the target of one row of the layer
            triples = list(zip(plain, sums, branches, strict=True))
            if all(y.shape == left.shape == right.shape for y, left, right in triples):
                return [left - right for _, left, right in triples]
        return plain

    def rows(
        self, layer: LinearLayer, aims: Sequence[torch.Tensor], count: int, rng: np.random.Generator
    ) -> Iterator[Rows]:
        """Yields rows of a layer batch by batch, about `count` of those to fit and as large a share of the others."""
        weight = to_matrix(layer, self.read(layer.weight))
        group, _, outputs = weight.shape
        bias = self.bias(layer, group * outputs).reshape(group, 1, outputs)
        sizes = self._calibration.sizes()
        fitted = sum(sizes[: self._calibration.fit])
        for i, (x, aim) in enumerate(zip(self.inputs(layer.x), aims, strict=True)):
            seen, wanted = layer_rows(layer, x, aim, -(-count * sizes[i] // fitted), rng)
            given = seen @ weight + bias
            yield Rows(seen, given, wanted, self.held_out(i))

    def bias(self, layer: LinearLayer, channels: int) -> Float64:
        """Returns what the layer adds to each of its output channels, float64 [channels]."""
        if not layer.bias:
            return np.zeros(channels)
        stored = self.read(layer.bias).astype(np.float64).reshape(-1) * layer.bias_scale
        return np.array(np.broadcast_to(stored, (channels,)))

    def held_out(self, index: int) -> bool:
        """Returns whether a batch is held out."""
        return index >= self._calibration.fit

    def error(self) -> float:
        """Moves both nets to the end; returns the error of the pruned net's outputs on the held-out samples."""
        found = []
        for walk in (self._teacher, self._student):
            walk.finish()
            batches = walk.outputs()[self._calibration.fit :]
            found.append([_joined(parts) for parts in zip(*batches, strict=True)])
        return output_error(output_producers(self._slim), *found)


def _cut(tensor: torch.Tensor, cuts: Sequence[tuple[int, BoolArray]]) -> torch.Tensor:
    for axis, keep in cuts:
        tensor = tensor.index_select(axis, tensor.new_tensor(np.flatnonzero(keep)).long())
    return tensor


def _joined(parts: Sequence[torch.Tensor]) -> NDArray[Any]:
    arrays = [part.detach().cpu().double().numpy() if part.is_floating_point() else part.numpy() for part in parts]
    return np.concatenate(arrays) if arrays[0].ndim else np.stack(arrays)
