"""The plan: which channels of which group stay. The only input of surgery.

As a file it is JSON that can be read, changed by hand and carried out again. New parts are optional, so that plans
written before stay readable under the same version; the version rises when a part that is there changes its meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.budget import RESOURCES, Budget
from onnxprune.core.errors import InputError
from onnxprune.core.tiling import Tiling, whole_numbers

__all__ = ["PLAN_VERSION", "Plan", "PlannedCost", "named_plan", "read_plan"]

PLAN_VERSION = 1
# no text in JSON holds a line break, so that only lists match
_NUMBERS = re.compile(r"\[\n\s*\d+(?:,\n\s*\d+)*\n\s*\]")
_EXPECTED = "Expected the JSON that `onnxprune plan` writes."


@dataclass(frozen=True)
class PlannedCost:
    """What a plan makes of one resource, in MACs, parameters or bytes.

    Attributes:
        original: Cost of the model as it was given.
        planned: Cost of what the plan leaves, counted from the analysis; no model was made for it.
    """

    original: float
    planned: float


@dataclass(frozen=True)
class Plan:
    """Group name → kept channels, bound to one model.

    Attributes:
        model_sha256: Hash of the file the plan was made for, "" when there was none.
        sizes: Group name → number of channels before.
        kept: Group name → kept indices, ascending.
        options: What led here (criterion, allocator, budgets, seed), for the record.
        approximate: Group name → why removing its channels changes a statistic; exact groups
            are absent.
        tiling: Which tiles of the weights stay once the channels have gone.
        tool_version: Version of onnxprune that decided; "" where none did.
        budgets: What was to be met.
        costs: Resource → what the plan makes of it.
        sha256: `digest` when the plan was decided; "" where it was written by hand.
    """

    model_sha256: str
    sizes: Mapping[str, int]
    kept: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    approximate: Mapping[str, str] = field(default_factory=dict)
    tiling: Tiling = field(default_factory=Tiling)
    tool_version: str = ""
    budgets: tuple[Budget, ...] = ()
    costs: Mapping[str, PlannedCost] = field(default_factory=dict)
    sha256: str = ""

    def mask(self, group: str) -> NDArray[np.bool_]:
        """Returns the keep mask of a group: bool [size]."""
        mask = np.zeros(self.sizes[group], dtype=np.bool_)
        mask[list(self.kept[group])] = True
        return mask

    @property
    def as_decided(self) -> bool:
        """Whether onnxprune decided all that the plan says, and nobody changed it since."""
        return bool(self.sha256) and self.sha256 == self.digest()

    @property
    def is_approximate(self) -> bool:
        """Whether channels could go over which an operator takes statistics."""
        return bool(self.options.get("approximate") or self.approximate)

    def digest(self) -> str:
        """Returns the SHA-256 of what the plan says, in hexadecimal."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def signed(self) -> Plan:
        """Returns the plan with its `sha256`."""
        return replace(self, sha256=self.digest())

    def to_json(self) -> str:
        """Returns the plan as JSON text, the same text for the same plan."""
        head = {"onnxprune_plan": PLAN_VERSION, "tool_version": self.tool_version, "sha256": self.sha256}
        return _NUMBERS.sub(_on_one_line, json.dumps(head | self._content(), indent=1)) + "\n"

    def _content(self) -> dict[str, Any]:
        return {
            "onnxprune_plan": PLAN_VERSION,
            "tool_version": self.tool_version,
            "model_sha256": self.model_sha256,
            "options": dict(self.options),
            "budgets": [vars(budget) for budget in self.budgets],
            "costs": {resource: vars(cost) for resource, cost in self.costs.items()},
            "groups": [self._group(name) for name in self.sizes],
            **({"tiles": self.tiling.to_record()} if self.tiling.layers else {}),
        }

    def _group(self, name: str) -> dict[str, Any]:
        record: dict[str, Any] = {"name": name, "size": self.sizes[name], "kept": list(self.kept[name])}
        return record | ({"approximate": self.approximate[name]} if name in self.approximate else {})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Returns the plan written in `text`.

        Raises:
            InputError: when the text is not a plan, or a group's indices do not fit its size.
        """
        content = _object(text)
        try:
            groups = [_read_group(group) for group in _list(content)]
            plan = cls(
                _text(content["model_sha256"]),
                {name: size for name, size, _ in groups},
                {name: kept for name, _, kept in groups},
                dict(content["options"]),
                {g["name"]: _text(g["approximate"]) for g in _list(content) if "approximate" in g},
                tool_version=_text(content.get("tool_version", "")),
                budgets=tuple(map(_budget, content.get("budgets", ()))),
                costs={_text(name): _cost(cost) for name, cost in dict(content.get("costs", {})).items()},
                sha256=_text(content.get("sha256", "")),
            )
            tiles = dict(content.get("tiles", {}))
        except KeyError as error:
            raise InputError(f"Not an onnxprune plan: {error} is missing. {_EXPECTED}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"Not an onnxprune plan: {error}. {_EXPECTED}") from error
        names = [name for name, _, _ in groups]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"Plan, group {twice!r}: it is there twice. Leave one.")
        for name, size, kept in groups:
            if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= size:
                raise InputError(
                    f"Plan, group {name!r}: kept indices must be ascending, at least one, and within 0..{size - 1}."
                )
        return replace(plan, tiling=Tiling.from_record(tiles)) if tiles else plan


def read_plan(path: Path) -> Plan:
    """Returns the plan in a file.

    Raises:
        InputError: when the file cannot be read, or is not a plan.
    """
    try:
        return Plan.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Give the file of a plan.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: Not an onnxprune plan: it is no text. {_EXPECTED}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def named_plan(given: Path | Plan) -> tuple[Plan, str]:
    """Returns a plan, read where a path is given, and what messages call it.

    Raises:
        InputError: when the file cannot be read, or is not a plan.
    """
    return (read_plan(given), str(given)) if isinstance(given, Path) else (given, "The plan")


def _on_one_line(numbers: re.Match[str]) -> str:
    return re.sub(r"\n\s*", "", numbers[0]).replace(",", ", ")


def _object(text: str) -> dict[str, Any]:
    """Returns the object that a text holds, whose version is the one that is read here."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Not an onnxprune plan: it is no JSON ({error}). {_EXPECTED}") from error
    if not isinstance(content, dict) or "onnxprune_plan" not in content:
        raise InputError(f"Not an onnxprune plan: 'onnxprune_plan' is missing. {_EXPECTED}")
    version = content["onnxprune_plan"]
    if version != PLAN_VERSION:
        raise InputError(f"The plan has version {version}; this onnxprune reads version {PLAN_VERSION}.")
    return content


def _list(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = content["groups"]
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise TypeError("'groups' is no list of objects")
    return groups


def _read_group(group: Mapping[str, Any]) -> tuple[str, int, tuple[int, ...]]:
    """Returns name, size and kept indices."""
    (size,) = whole_numbers([group["size"]])
    return _text(group["name"]), size, whole_numbers(group["kept"])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _budget(record: Mapping[str, Any]) -> Budget:
    if record["resource"] not in RESOURCES or not isinstance(record["relative"], bool) or not record["value"] > 0:
        raise ValueError(f"{record!r} is no budget")
    return Budget(record["resource"], float(record["value"]), record["relative"])


def _cost(record: Mapping[str, Any]) -> PlannedCost:
    return PlannedCost(float(record["original"]), float(record["planned"]))
