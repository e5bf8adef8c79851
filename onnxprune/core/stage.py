"""What a pass is, and the bench its results lie on.

A pass reads artifacts by name, does one thing, and gives new ones. Names and types of what
lies on the bench are checked when they are taken, so a pass never sees a half-built run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from onnxprune.core.errors import InternalError
from onnxprune.core.events import EventHandler, Note, ignore_events

__all__ = ["Bench", "Pass", "PassRecord"]

T = TypeVar("T")


@dataclass
class Bench:
    """The artifacts of one run, by name, and where its progress is told.

    Attributes:
        artifacts: Name → what a pass gave.
        on_event: Progress handler.
        notes: Sentences for the report, in the order told.
    """

    artifacts: dict[str, Any] = field(default_factory=dict)
    on_event: EventHandler = ignore_events
    notes: list[str] = field(default_factory=list)

    def take(self, name: str, kind: type[T]) -> T:
        """Returns the artifact `name`.

        Raises:
            InternalError: when it is not there or is not a `kind`.
        """
        value = self.artifacts.get(name)
        if not isinstance(value, kind):
            raise InternalError(f"The run has no {kind.__name__} called {name!r}; it holds {sorted(self.artifacts)}.")
        return value

    def find(self, name: str, kind: type[T]) -> T | None:
        """Returns the artifact `name`, or None where no pass gave it."""
        return self.take(name, kind) if name in self.artifacts else None

    def note(self, text: str) -> None:
        """Tells the user something once, now and in the report."""
        if text not in self.notes:
            self.notes.append(text)
            self.on_event(Note(text))


class Pass(ABC):
    """One step of the pipeline.

    Attributes:
        name: Verb first, as its file is called.
        needs: Artifacts it reads.
        gives: Artifacts it adds.
        edits: Artifacts it replaces; all others it leaves as they are.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Does the step; returns what it gives and edits, by name."""


@dataclass(frozen=True)
class PassRecord:
    """What a pass did.

    Attributes:
        name: Its name.
        seconds: How long it took.
        nodes_before: Nodes of the working graph before it, 0 where there was none.
        nodes_after: Nodes after it.
        modified: Whether it changed the graph.
    """

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int
    modified: bool
