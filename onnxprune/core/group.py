"""Coupled channels: what is kept or dropped together, and what cannot be dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FrozenAxis", "Group", "Member", "Role", "Unit"]

Role = Literal["producer", "consumer", "vector", "opaque"]
Unit = Literal["channel", "block"]


@dataclass(frozen=True)
class Member:
    """One axis of one initializer that a group runs through.

    Attributes:
        initializer: Name of the initializer.
        axis: The axis.
        role: "producer" where the axis is the output of a weight, "consumer" where it is
            contracted, "vector" for bias, normalisation and other per-channel parameters,
            "opaque" for a weight of an operator that nothing is known of.
        op: Operator type of the node that reads the initializer.
        node: Name of that node.
        slot: Index of the initializer among the node's inputs.
    """

    initializer: str
    axis: int
    role: Role
    op: str
    node: str
    slot: int


@dataclass(frozen=True)
class Group:
    """`size` channels, each of which is kept or dropped everywhere at once.

    Attributes:
        name: Name of the first producing node, made unique with "#2", "#3", …
        size: Number of channels.
        members: The initializer axes it runs through, in graph order. An axis may hold the
            group several times over (a flattened or concatenated axis).
        multiple: Physical channels per logical channel on the widest axis; a head of 64
            has 64.
        approximate: Why removal changes a statistic, or "" when removal is exact.
        unit: What is kept or dropped: "channel", or "block" where the group stands for a layer in tiles, each of which
            keeps as many blocks of inputs as the others.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    multiple: int = 1
    approximate: str = ""
    unit: Unit = "channel"

    @property
    def producers(self) -> tuple[Member, ...]:
        """The members that write the group's channels."""
        return tuple(m for m in self.members if m.role == "producer")


@dataclass(frozen=True)
class FrozenAxis:
    """Channels of a weight that stay as they are, and why.

    Attributes:
        name: Name of the first producing node.
        size: Number of channels.
        members: The weight axes concerned.
        reasons: One sentence each, naming op and node.
        chains: The same sentences in the same order, each after the operators that lead to it:
            "conv_0 → Relu → Softmax 'attn' normalises over this axis". Arrows follow the data.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    reasons: tuple[str, ...]
    chains: tuple[str, ...] = ()
