"""Several budgets in one run: `--flops 0.7,0.5,0.3` is a curve of three points.

A budget may list values; budgets that list several list equally many, one for each point, and the
others hold at all points. Each point is a recipe of its own, whose files carry its budgets:

    slim.onnx  ->  slim.flops-0.7.onnx, slim.flops-0.5.onnx, slim.flops-0.3.onnx
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.core.budget import RESOURCES
from onnxprune.core.errors import UsageError
from onnxprune.recipe.compress import Recipe

__all__ = ["Curve", "curve_of", "lists_budgets"]


@dataclass(frozen=True)
class Curve:
    """Recipes that differ in their budgets.

    Attributes:
        recipes: One for each point, in the order given.
        report: Where the curve's report goes, or None.
        options: What was asked, for the record.
    """

    recipes: tuple[Recipe, ...]
    report: Path | None
    options: Mapping[str, Any]


def curve_of(options: Mapping[str, Any]) -> Curve | None:
    """Returns the curve that options ask for; None where no budget lists several values.

    Args:
        options: As `Recipe.from_mapping` takes them, but for budgets that list several values: a tuple or a
            list, or a text with commas.

    Raises:
        UsageError: when lists differ in length, or an option of a point is wrong.
    """
    lists = {name: found for name in RESOURCES if (found := _listed(options.get(name))) is not None}
    if not lists:
        return None
    if options.get("plan") is not None:
        raise UsageError("A plan is one point, and a budget that lists values asks for several. Give one value.")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"--{name} lists {count}" for name, count in lengths.items())
        raise UsageError(
            f"{said}: budgets that list several values list equally many, one for each point of the curve."
        )
    out = _out(options)
    recipes = []
    for place in range(next(iter(lengths.values()))):
        here = {name: values[place] for name, values in lists.items()}
        tag = "-".join(f"{name}-{_plain(value)}" for name, value in here.items())
        own: dict[str, Any] = {**options, **here, "report": None}
        if out is not None:
            own["out"] = out.with_name(f"{out.stem}.{tag}{out.suffix}")
        if options.get("run_dir") is not None:
            own["run_dir"] = Path(options["run_dir"]) / tag
        recipes.append(Recipe.from_mapping(own))
    outs = [recipe.out_path for recipe in recipes]
    if out is not None and len(set(outs)) < len(outs):
        raise UsageError("A curve has every point once: the budgets list one value twice.")
    given = options.get("report")
    report = Path(given) if given is not None else out.with_name(f"{out.stem}.curve.json") if out is not None else None
    return Curve(tuple(recipes), report, dict(options))


def lists_budgets(options: Mapping[str, Any]) -> bool:
    """Returns whether a budget among the options lists several values."""
    return any(_listed(options.get(name)) is not None for name in RESOURCES)


def _listed(value: Any) -> list[Any] | None:
    """The values of a list, or None where there is one value or none."""
    if isinstance(value, str) and "," in value:
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return list(value)
    return None


def _out(options: Mapping[str, Any]) -> Path | None:
    if options.get("out") is not None:
        return Path(options["out"])
    model = options.get("model")
    return Path(f"{Path(model).stem}.slim.onnx") if isinstance(model, str | os.PathLike) else None


def _plain(value: Any) -> str:
    """A budget as a part of a file's name."""
    return re.sub(r"[^0-9A-Za-z.]+", "", str(value).replace("%", "pct"))
