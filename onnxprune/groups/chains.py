"""The way from a weight to what keeps its channels: operators that hand the channels on.

An atom is pinned in one place and felt in another. Between them lie tensors whose axes carry
the atom, and the nodes that read and write these tensors; a breadth-first search over them
gives the shortest way. Arrows follow the data: "conv_0 → Relu → Softmax 'attn' normalises over
this axis", and "conv_0 ← Resize ← input 'x' of the model".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves
from onnxprune.core.group import Member
from onnxprune.graph.sort import node_reads
from onnxprune.groups.infer import Inference
from onnxprune.ops import describe

__all__ = ["Chains"]

SHOWN = 6
"""Most operators that a chain shows; the middle of longer ones is left out."""

DOWN, UP = " → ", " ← "


@dataclass(frozen=True, eq=False)
class _Stop:
    """A place on the way: a node, a graph input or output, or an initializer that several nodes share.

    Attributes:
        label: How reasons begin that name it.
        name: How a chain names it where it begins there.
        short: How a chain names it on the way.
    """

    label: str
    name: str
    short: str


Step = tuple[_Stop, str]


class Chains:
    """Chains through one analysed graph.

    Args:
        inference: Axes of every tensor.
    """

    def __init__(self, inference: Inference) -> None:
        self._stops: dict[str, _Stop] = {}
        self._sources, self._ends = _ends(inference.model.graph)
        self._readers: dict[str, list[_Stop]] = {}
        self._writer: dict[str, _Stop] = {}
        for node in inference.model.nodes:
            stop = _Stop(describe(node), node.name or node.outputs[0].name, str(node.op))
            self._stops[stop.name] = stop
            self._writer |= {tensor.name: stop for tensor in node.outputs if tensor.name}
            for name in sorted(node_reads(node)):
                self._readers.setdefault(name, []).append(stop)
        stops = (*self._stops.values(), *self._sources.values(), *self._ends.values())
        self._labels = {stop.label for stop in stops}
        self._carriers = _carriers(inference, [*self._writer, *self._readers])

    def explain(self, atom: Atom, members: Sequence[Member], reasons: Iterable[str]) -> tuple[str, ...]:
        """Returns one chain per reason; a reason alone where it names no place or no way leads there.

        Args:
            atom: The channels.
            members: The weights that have them; ways begin at those that write them, where there are any.
            reasons: Why the channels stay.
        """
        wanted = {reason: self._place(reason) for reason in reasons}
        writers = [m for m in members if m.role == "producer"] or members
        ways = self._search(atom, [self._stops[m.node] for m in writers], {label for label in wanted.values() if label})
        return tuple(_sentence(reason, ways.get(label)) for reason, label in wanted.items())

    def _place(self, reason: str) -> str:
        """Returns the label that a reason begins with, "" where it begins with none."""
        quotes = [i + 1 for i, sign in enumerate(reason) if sign == "'"]
        # a name may hold a quote itself; the outputs' and inputs' labels go on to "of the model"
        ends = [*quotes, *(end + len(" of the model") for end in quotes)]
        return max((reason[:end] for end in ends if reason[:end] in self._labels), key=len, default="")

    def _search(self, atom: Atom, starts: Sequence[_Stop], wanted: set[str]) -> dict[str, list[str]]:
        """Returns label → the way to the place it names, the weight's node first, for labels that are reached."""
        steps = self._steps(self._carriers.get(atom, ()))
        came: dict[_Stop, tuple[_Stop, str] | None] = dict.fromkeys(starts)
        found: dict[str, list[str]] = {}
        queue = deque(came)
        while queue and len(found) < len(wanted):
            here = queue.popleft()
            if here.label in wanted and here.label not in found:
                found[here.label] = _way(here, came)
            for there, arrow in steps.get(here, ()):
                if there not in came:
                    came[there] = (here, arrow)
                    queue.append(there)
        return found

    def _steps(self, tensors: Iterable[str]) -> dict[_Stop, list[Step]]:
        """Returns stop → what lies one step on along `tensors`."""
        steps: dict[_Stop, list[Step]] = {}
        for name in tensors:
            readers = self._readers.get(name, [])
            ends = [self._ends[name]] if name in self._ends else []
            source = self._writer.get(name) or self._sources.get(name)
            if source is None:
                if len(readers) < 2:
                    continue
                source = _stop(f"weight '{name}'")
            for reader in [*readers, *ends]:
                steps.setdefault(source, []).append((reader, DOWN))
                steps.setdefault(reader, []).append((source, UP))
        return steps


def _stop(text: str) -> _Stop:
    return _Stop(text, text, text)


def _ends(graph: gs.Graph) -> tuple[dict[str, _Stop], dict[str, _Stop]]:
    """Returns graph input → its stop, and graph output → its stop."""
    sources = {t.name: _stop(f"input '{t.name}' of the model") for t in graph.inputs}
    return sources, {t.name: _stop(f"output '{t.name}' of the model") for t in graph.outputs}


def _carriers(inference: Inference, names: Iterable[str]) -> dict[Atom, list[str]]:
    """Returns atom → the tensors whose axes run over it; pinned atoms alone, as others need no reason."""
    found: dict[Atom, list[str]] = {}
    for name in dict.fromkeys(names):
        atoms = dict.fromkeys(atom for axis in inference.axes(name) for atom in leaves(axis) if atom.pinned)
        for atom in atoms:
            found.setdefault(atom, []).append(name)
    return found


def _way(last: _Stop, came: dict[_Stop, tuple[_Stop, str] | None]) -> list[str]:
    """Returns the way to `last` as names and arrows in turn, without `last` itself."""
    way: list[str] = []
    here = last
    while (step := came[here]) is not None:
        here, arrow = step
        way[:0] = [here.name if came[here] is None else here.short, arrow]
    return way


def _sentence(reason: str, way: list[str] | None) -> str:
    if not way:
        return reason
    if len(way) // 2 >= SHOWN:
        head, tail = SHOWN // 2, SHOWN - SHOWN // 2 - 1
        cut = len(way) // 2 - head - tail
        way = [*way[: 2 * head], f"… {cut} more …", *way[2 * (head + cut) - 1 :]]
    return "".join(way) + reason
