"""What onnxprune knows of one operator, in one place.

An `OpRule` holds four facts about an operator: how it relates the axes of its inputs and
outputs (`axes`), what its outputs hold where channels are masked (`masked`), what must be
rewritten in a node when channels go (`repair`), how many multiply-accumulates it costs
(`macs`), and its PyTorch counterpart (`torch`). A rule is filed under (domain, operator) and
the range of operator versions it speaks for. Operators without a rule freeze what they touch.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, Poly, leaves
from onnxprune.core.group import Role

if TYPE_CHECKING:
    import torch

    TorchFunction = Callable[..., "torch.Tensor | tuple[torch.Tensor | None, ...]"]

__all__ = [
    "AxisContext",
    "AxisList",
    "Edit",
    "Mask",
    "MaskContext",
    "OldEntry",
    "OpRule",
    "RunTimeSize",
    "ShapePart",
    "SizeContext",
    "TwinContext",
    "attribute",
    "describe",
    "input_name",
    "integers",
    "open_atoms",
]

AxisList = list[Axis]
AnyArray = NDArray[Any]


class Mask(enum.Enum):
    """What a tensor holds at the masked channels of an atom.

    ABSENT: the tensor does not run over the atom. ZERO: exactly zero. FINITE: any finite
    value, such as sigmoid(0) = 0.5.
    """

    ABSENT = "absent"
    ZERO = "zero"
    FINITE = "finite"


@dataclass(frozen=True)
class OldEntry:
    """Entry `position` of the vector that a shape input held before surgery."""

    position: int


@dataclass(frozen=True)
class RunTimeSize:
    """The size of axis `axis` of tensor `tensor`, read at run time."""

    tensor: str
    axis: int


ShapePart = int | OldEntry | RunTimeSize


class AxisContext(Protocol):
    """What a rule may ask while axes are inferred. Tensors go by name."""

    exact: bool

    def axes(self, name: str) -> AxisList:
        """Returns the axes of a tensor inferred so far."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape seen in the first concrete run."""

    def dynamic(self, name: str) -> tuple[bool, ...]:
        """Returns which axes changed when all dynamic dimensions were changed."""

    def constant(self, name: str) -> AnyArray | None:
        """Returns an initializer's value, or None where the tensor is computed."""

    def note(self, node: gs.Node, key: str, axis: Axis) -> None:
        """Remembers an axis that `repair` and `macs` need and no tensor carries."""


class MaskContext(Protocol):
    """What a rule may ask and say about masked channels."""

    def axes(self, name: str) -> AxisList:
        """Returns the axes of a tensor."""

    def state(self, name: str, atom: Atom) -> Mask:
        """Returns what `name` holds at the masked channels of `atom`."""

    def set(self, name: str, atom: Atom, mask: Mask) -> None:
        """Says what `name` holds at the masked channels of `atom`."""

    def constant(self, name: str) -> AnyArray | None:
        """Returns an initializer's value, or None where the tensor is computed."""

    def noted(self, node: gs.Node, key: str) -> Axis | None:
        """Returns an axis that `axes` noted, or None."""

    def fill(self, name: str, value: float) -> bool:
        """Asks that masked slices of an initializer hold `value`.

        A divisor asks for 1, a quantised weight for its zero point; without asking, floats hold 0 and
        integers stay. False where another reader has asked for another value.
        """


class SizeContext(Protocol):
    """What a rule may ask when it counts."""

    def sizes(self, name: str) -> list[Poly]:
        """Returns the size of each axis of a tensor as a polynomial in kept counts."""

    def noted(self, node: gs.Node, key: str) -> Poly:
        """Returns the size of an axis that `axes` noted."""

    def has_note(self, node: gs.Node, key: str) -> bool:
        """Returns whether `axes` noted an axis under `key`."""


class Edit(Protocol):
    """What a rule may ask and change when channels are removed.

    Axes and shapes are those before removal.
    """

    opset: int

    def axes(self, name: str) -> AxisList:
        """Returns the axes of a tensor."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a tensor's shape before removal."""

    def dynamic(self, name: str) -> tuple[bool, ...]:
        """Returns which axes are dynamic."""

    def constant(self, name: str) -> AnyArray | None:
        """Returns an initializer's value, or None where the tensor is computed."""

    def keep(self, axis: Axis) -> NDArray[np.bool_]:
        """Returns which indices of an axis stay: bool [axis.size]."""

    def noted(self, node: gs.Node, key: str) -> Axis | None:
        """Returns an axis that `axes` noted, or None."""

    def set_input(self, node: gs.Node, slot: int, value: AnyArray) -> None:
        """Makes input `slot` of `node` a new initializer of `value`."""

    def set_shape_input(self, node: gs.Node, slot: int, parts: Sequence[ShapePart]) -> None:
        """Makes input `slot` an int64 vector put together at run time from `parts`."""


class TwinContext(Protocol):
    """What a rule may ask when it builds the PyTorch counterpart."""

    opset: int

    def constant(self, name: str) -> AnyArray | None:
        """Returns an initializer's value, or None where the tensor is computed."""

    def training(self) -> bool:
        """Returns whether the module is in training mode now."""


class OpRule(ABC):
    """The facts about one operator (or a family that shares them).

    Attributes:
        names: Operator types this rule speaks for.
        domain: Operator domain; "" is ai.onnx.
        since: First operator-set version it holds for.
        until: Last one, or None for every later one.
        statistics: Whether the operator takes statistics over axes that `soften` marked. Removing
            their channels is then an approximation, and a masked twin of the model runs the node on
            what is kept (`onnxprune.groups.narrow`): at masked channels of those axes its
            outputs hold zero.
        plain_inputs: Inputs that the PyTorch counterpart takes as Python integers (an int or a tuple,
            see `onnxprune.ops.plain_ints`) where they are known as such, else as tensors.
    """

    names: ClassVar[tuple[str, ...]] = ()
    domain: ClassVar[str] = ""
    since: ClassVar[int] = 1
    until: ClassVar[int | None] = None
    statistics: ClassVar[bool] = False
    plain_inputs: ClassVar[tuple[int, ...]] = ()

    @abstractmethod
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        """Returns the axes of each output, after equating those of the inputs.

        Args:
            node: The node; its inputs' axes are known.
            ctx: Where axes, shapes and constants are looked up.
        """

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        """Says what the outputs hold at masked channels; pins where masking is not removal.

        The default suits operators that move data or map zero to zero: an output is zero
        where every input that runs over the atom is.
        """
        for output in node.outputs:
            for atom in open_atoms(ctx, output.name):
                states = [ctx.state(t.name, atom) for t in node.inputs if t.name]
                carried = [s for s in states if s is not Mask.ABSENT]
                zero = bool(carried) and all(s is Mask.ZERO for s in carried)
                ctx.set(output.name, atom, Mask.ZERO if zero else Mask.FINITE)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        """Returns what an axis of an initializer at input `slot` is to the channels it runs over."""
        return "vector"

    def repair(self, node: gs.Node, edit: Edit) -> None:  # noqa: B027  # most operators bake nothing in
        """Rewrites what the node bakes in: shapes, split sizes, group counts."""

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        """Returns the node's multiply-accumulates over the whole concrete batch."""
        return Poly.constant(0)

    @abstractmethod
    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        """Returns a function from input tensors (None where absent) to the output or outputs."""


def open_atoms(ctx: MaskContext, name: str) -> list[Atom]:
    """Returns the atoms of a tensor that nothing has pinned, each once."""
    seen: dict[Atom, None] = {}
    for axis in ctx.axes(name):
        for atom in leaves(axis):
            if not atom.pinned:
                seen.setdefault(atom)
    return list(seen)


def describe(node: gs.Node) -> str:
    """Returns how messages name a node: operator and node name."""
    name = node.name or (node.outputs[0].name if node.outputs else "")
    return f"{node.op} '{name}'"


def attribute(node: gs.Node, name: str, default: Any = None) -> Any:
    """Returns an attribute's value, or `default` where the node does not set it."""
    value = node.attrs.get(name)
    return default if value is None else value


def input_name(node: gs.Node, slot: int) -> str:
    """Returns the name of input `slot`, or "" where it is absent."""
    return str(node.inputs[slot].name) if slot < len(node.inputs) else ""


def integers(
    node: gs.Node, name: str, slot: int | None, constant: Callable[[str], AnyArray | None]
) -> list[int] | None:
    """Returns integers that older versions keep in an attribute and newer ones in an input.

    Args:
        node: The node.
        name: The attribute.
        slot: The input slot of newer versions, or None.
        constant: Looks up an initializer by name.

    Returns:
        The integers; None where they are absent or computed at run time.
    """
    value = node.attrs.get(name)
    if value is None and slot is not None and input_name(node, slot):
        value = constant(input_name(node, slot))
    if value is None:
        return None
    return [int(v) for v in np.asarray(value).reshape(-1)]
