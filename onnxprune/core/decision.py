"""What a phase of a run decided, as text: the plan, the allocation behind it, and what was said meanwhile."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from onnxprune.core.allocation import Allocation
from onnxprune.core.errors import InputError
from onnxprune.core.plan import Plan
from onnxprune.core.search import SearchPoint, SearchRecord

__all__ = ["Decision"]

_VERSION = 1


@dataclass(frozen=True)
class Decision:
    """What surgery of one phase follows from.

    Attributes:
        plan: Which channels stay.
        allocation: How many, and how that was found; without its `worth`.
        notes: Everything that was told up to then.
    """

    plan: Plan
    allocation: Allocation
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Returns the decision as JSON text."""
        found = self.allocation
        content = {
            "onnxprune_decision": _VERSION,
            "plan": json.loads(self.plan.to_json()),
            "kept": dict(found.kept),
            "cost": dict(found.cost),
            "limit": dict(found.limit),
            "alignment": dict(found.alignment),
            "allocation_notes": list(found.notes),
            "search": None if found.search is None else asdict(found.search),
            "notes": list(self.notes),
        }
        return json.dumps(content) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Decision:
        """Returns the decision written in `text`.

        Raises:
            InputError: when it is none of this version.
        """
        try:
            content = json.loads(text)
            if content["onnxprune_decision"] != _VERSION:
                raise ValueError(f"version {content['onnxprune_decision']}")
            allocation = Allocation(
                kept=content["kept"],
                cost=content["cost"],
                limit=content["limit"],
                alignment=content["alignment"],
                notes=tuple(content["allocation_notes"]),
                search=_search(content["search"]),
            )
            return cls(Plan.from_json(json.dumps(content["plan"])), allocation, tuple(content["notes"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Not a decision of an onnxprune run: {error}. Begin the run anew, without --resume."
            ) from error


def _search(content: Any) -> SearchRecord | None:
    if content is None:
        return None
    points = tuple(SearchPoint(**point) for point in content["points"])
    return SearchRecord(points, content["steps"], content["seconds"])
