"""The plan: which channels of which group stay. The only input of surgery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InputError
from onnxprune.core.tiling import Tiling

__all__ = ["PLAN_VERSION", "Plan"]

PLAN_VERSION = 1


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
    """

    model_sha256: str
    sizes: Mapping[str, int]
    kept: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    approximate: Mapping[str, str] = field(default_factory=dict)
    tiling: Tiling = field(default_factory=Tiling)

    def mask(self, group: str) -> NDArray[np.bool_]:
        """Returns the keep mask of a group: bool [size]."""
        mask = np.zeros(self.sizes[group], dtype=np.bool_)
        mask[list(self.kept[group])] = True
        return mask

    def to_json(self) -> str:
        """Returns the plan as JSON text, the same text for the same plan."""
        content = {
            "onnxprune_plan": PLAN_VERSION,
            "model_sha256": self.model_sha256,
            "options": dict(self.options),
            "groups": [self._group(name) for name in self.sizes],
            **({"tiles": self.tiling.to_record()} if self.tiling.layers else {}),
        }
        return json.dumps(content, indent=1) + "\n"

    def _group(self, name: str) -> dict[str, Any]:
        record: dict[str, Any] = {"name": name, "size": self.sizes[name], "kept": list(self.kept[name])}
        return record | ({"approximate": self.approximate[name]} if name in self.approximate else {})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Returns the plan written in `text`.

        Raises:
            InputError: when the text is not a plan, or a group's indices do not fit its size.
        """
        try:
            content = json.loads(text)
            version = content["onnxprune_plan"]
            groups = [(str(g["name"]), int(g["size"]), tuple(int(i) for i in g["kept"])) for g in content["groups"]]
            approximate = {str(g["name"]): str(g["approximate"]) for g in content["groups"] if "approximate" in g}
            digest, options = str(content["model_sha256"]), dict(content["options"])
            tiles = dict(content.get("tiles", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"Not an onnxprune plan: {error}. Expected the JSON that `compress` writes.") from error
        if version != PLAN_VERSION:
            raise InputError(f"The plan has version {version}; this onnxprune reads version {PLAN_VERSION}.")
        for name, size, kept in groups:
            if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= size:
                raise InputError(
                    f"Plan, group {name!r}: kept indices must be ascending, at least one, and within 0..{size - 1}."
                )
        sizes, kept_of = {n: s for n, s, _ in groups}, {n: k for n, _, k in groups}
        return cls(digest, sizes, kept_of, options, approximate, Tiling.from_record(tiles) if tiles else Tiling())
