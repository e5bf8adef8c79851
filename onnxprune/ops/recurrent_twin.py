"""LSTM, GRU and RNN in PyTorch.

A layer in its ordinary form goes to PyTorch's own kernels. Peepholes, clipping, sequence lengths,
other activations and the rest that those lack are computed step by step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from onnxprune.ops.base import attribute
from onnxprune.ops.gate_activation import GateActivation

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

    State = tuple[torch.Tensor, ...]
    Function = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["Cell", "GruCell", "LstmCell", "RnnCell", "Weights", "recurrent_function"]


@dataclass(frozen=True)
class Weights:
    """The weights of one direction.

    Attributes:
        inputs: [gates·h, inputs].
        hidden: [gates·h, h].
        input_bias: [gates·h].
        hidden_bias: [gates·h].
        peepholes: [3·h], or None.
    """

    inputs: torch.Tensor
    hidden: torch.Tensor
    input_bias: torch.Tensor
    hidden_bias: torch.Tensor
    peepholes: torch.Tensor | None


@dataclass(frozen=True)
class Cell(ABC):
    """One step of one direction.

    Attributes:
        functions: Its activations, those of gates with clipped inputs.
        plain: Whether PyTorch's kernel computes the same.
        option: `input_forget` of LSTM, `linear_before_reset` of GRU.
    """

    functions: tuple[Function, ...]
    plain: bool
    option: bool

    states: ClassVar[int] = 1
    usual: ClassVar[tuple[str, ...]]
    gate_order: ClassVar[tuple[int, ...]]
    """Which of the standard's gates PyTorch has at each place."""
    option_name: ClassVar[str] = ""
    plain_option: ClassVar[bool] = False
    clipped: ClassVar[int] = 2

    @classmethod
    def of(cls, node: gs.Node, activations: Sequence[GateActivation]) -> Cell:
        """Returns the cell of a node's direction."""
        clip = attribute(node, "clip")
        option = bool(attribute(node, cls.option_name, 0)) if cls.option_name else False
        usual = tuple(a.name for a in activations) == cls.usual
        functions = [a.torch(node) for a in activations]
        # onnxruntime does not clip what LSTM's memory goes through on its way to the output
        functions[: cls.clipped] = [_clipped(f, clip) for f in functions[: cls.clipped]]
        return cls(tuple(functions), usual and clip is None and option == cls.plain_option, option)

    @abstractmethod
    def step(self, x: torch.Tensor, state: State, weights: Weights) -> State:
        """Returns the next state, h first.

        Args:
            x: The input times its weights, input bias added: [batch, gates·h].
            state: h [batch, h], and c [batch, h] of LSTM.
            weights: The direction's weights.
        """

    @abstractmethod
    def kernel(self, x: torch.Tensor, state: State, flat: list[torch.Tensor], two: bool) -> State:
        """Returns PyTorch's output [time, batch, directions·h] and last states [directions, batch, h]."""


def _clipped(function: Function, clip: float | None) -> Function:
    if clip is None:
        return function
    return lambda x: function(x.clamp(-clip, clip))


class LstmCell(Cell):
    """i, o, f, c = x + R h; c ← f c + i g(c'), h ← o h(c); peepholes add p·c to i, f and (after) o."""

    states = 2
    usual = ("sigmoid", "tanh", "tanh")
    gate_order = (0, 2, 3, 1)
    option_name = "input_forget"

    def step(self, x: torch.Tensor, state: State, weights: Weights) -> State:
        f, g, h = self.functions
        hidden, memory = state
        gates = x + hidden @ weights.hidden.mT + weights.hidden_bias
        keep_in, out, forget, new = gates.chunk(4, -1)
        peep = None if weights.peepholes is None else weights.peepholes.chunk(3)
        if peep is not None:
            keep_in, forget = keep_in + peep[0] * memory, forget + peep[2] * memory
        keep_in = f(keep_in)
        kept = 1 - keep_in if self.option else f(forget)
        memory = kept * memory + keep_in * g(new)
        if peep is not None:
            out = out + peep[1] * memory
        return f(out) * h(memory), memory

    def kernel(self, x: torch.Tensor, state: State, flat: list[torch.Tensor], two: bool) -> State:
        import torch

        return torch.lstm(x, state, flat, True, 1, 0.0, False, two, False)


class GruCell(Cell):
    """z, r = f(x + R h); n = g(x + R (r h)), or g(x + r (R h)); h ← (1 − z) n + z h."""

    usual = ("sigmoid", "tanh")
    gate_order = (1, 0, 2)
    option_name = "linear_before_reset"
    plain_option = True

    def step(self, x: torch.Tensor, state: State, weights: Weights) -> State:
        f, g = self.functions
        (hidden,) = state
        x_update, x_reset, x_new = x.chunk(3, -1)
        matrices, biases = weights.hidden.chunk(3), weights.hidden_bias.chunk(3)
        update = f(x_update + hidden @ matrices[0].mT + biases[0])
        reset = f(x_reset + hidden @ matrices[1].mT + biases[1])
        if self.option:
            new = g(x_new + reset * (hidden @ matrices[2].mT + biases[2]))
        else:
            new = g(x_new + (reset * hidden) @ matrices[2].mT + biases[2])
        return ((1 - update) * new + update * hidden,)

    def kernel(self, x: torch.Tensor, state: State, flat: list[torch.Tensor], two: bool) -> State:
        import torch

        return torch.gru(x, state[0], flat, True, 1, 0.0, False, two, False)


class RnnCell(Cell):
    """h ← f(x + R h)."""

    usual = ("tanh",)
    gate_order = (0,)

    def step(self, x: torch.Tensor, state: State, weights: Weights) -> State:
        return (self.functions[0](x + state[0] @ weights.hidden.mT + weights.hidden_bias),)

    def kernel(self, x: torch.Tensor, state: State, flat: list[torch.Tensor], two: bool) -> State:
        import torch

        return torch.rnn_tanh(x, state[0], flat, True, 1, 0.0, False, two, False)


def recurrent_function(node: gs.Node, cells: Sequence[Cell], backwards: Sequence[bool]) -> TorchFunction:
    """Returns the layer as a function of its inputs, absent ones None.

    Args:
        node: The node.
        cells: One per direction.
        backwards: Whether each direction runs from the end.
    """
    batch_first = bool(attribute(node, "layout", 0))

    def recurrent(*inputs: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        given: list[torch.Tensor | None] = [*inputs, *([None] * (8 - len(inputs)))]
        x, w, r, b, lengths, h, c, p = given
        assert x is not None  # the standard requires the first three inputs
        assert w is not None
        assert r is not None
        x = x.transpose(0, 1) if batch_first else x
        zero = x.new_zeros((len(cells), x.shape[1], r.shape[2]))
        states = tuple(_state(s, zero, batch_first) for s in (h, c)[: cells[0].states])
        bias = w.new_zeros((len(cells), 2 * w.shape[1])) if b is None else b
        half = w.shape[1]
        weights = [
            Weights(w[i], r[i], bias[i, :half], bias[i, half:], None if p is None else p[i]) for i in range(len(cells))
        ]
        if lengths is None and p is None and all(cell.plain for cell in cells):
            y, *last = _by_kernel(cells[0], x, states, weights, backwards)
        else:
            y, *last = _by_steps(cells, x, states, weights, backwards, lengths)
        if batch_first:
            return (y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last))
        return (y, *last)

    return recurrent


def _state(state: torch.Tensor | None, zero: torch.Tensor, batch_first: bool) -> torch.Tensor:
    if state is None:
        return zero
    return (state.transpose(0, 1) if batch_first else state).contiguous()


def _by_kernel(
    cell: Cell, x: torch.Tensor, states: State, weights: Sequence[Weights], backwards: Sequence[bool]
) -> State:
    import torch

    def ordered(tensor: torch.Tensor) -> torch.Tensor:
        gates = tensor.chunk(len(cell.gate_order))
        return torch.cat([gates[i] for i in cell.gate_order])

    flat = [ordered(t) for one in weights for t in (one.inputs, one.hidden, one.input_bias, one.hidden_bias)]
    flip = list(backwards) == [True]
    y, *last = cell.kernel(x.flip(0) if flip else x, states, flat, len(weights) == 2)
    y = y.flip(0) if flip else y
    return (y.reshape(*y.shape[:2], len(weights), -1).transpose(1, 2), *last)


def _by_steps(
    cells: Sequence[Cell],
    x: torch.Tensor,
    states: State,
    weights: Sequence[Weights],
    backwards: Sequence[bool],
    lengths: torch.Tensor | None,
) -> State:
    import torch

    every: list[torch.Tensor] = []
    ends: list[State] = []
    for i, (cell, one, back) in enumerate(zip(cells, weights, backwards, strict=True)):
        projected = x @ one.inputs.mT + one.input_bias
        projected = _reversed(projected, lengths) if back else projected
        y, *last = _scan(cell, projected, tuple(s[i] for s in states), one, lengths)
        every.append(_reversed(y, lengths) if back else y)
        ends.append(tuple(last))
    return (torch.stack(every, 1), *(torch.stack(state) for state in zip(*ends, strict=True)))


def _scan(cell: Cell, x: torch.Tensor, state: State, weights: Weights, lengths: torch.Tensor | None) -> State:
    """Returns h of every step, zero behind a sequence's end, and the last states."""
    import torch

    every = []
    for time, now in enumerate(x):
        new = cell.step(now, state, weights)
        if lengths is None:
            state, y = new, new[0]
        else:
            live = (time < lengths)[:, None]
            state = tuple(torch.where(live, a, b) for a, b in zip(new, state, strict=True))
            y = torch.where(live, new[0], torch.zeros_like(new[0]))
        every.append(y)
    return (torch.stack(every), *state)


def _reversed(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Returns [time, batch, …] with each sequence reversed as far as it goes."""
    import torch

    if lengths is None:
        return x.flip(0)
    time = torch.arange(len(x), device=x.device)[:, None]
    places = torch.where(time < lengths, lengths - 1 - time, time)
    return x[places, torch.arange(x.shape[1], device=x.device)]
