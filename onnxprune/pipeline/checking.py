"""Whether a recipe could run: its options, the files that it names, its model. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxprune.allocate import ALLOCATORS
from onnxprune.core.budget import RESOURCES
from onnxprune.core.errors import InputError, OutputError
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.criteria import CRITERIA
from onnxprune.passes.import_model import ImportModel
from onnxprune.pipeline.following import followed
from onnxprune.pipeline.words import check_place, option_text
from onnxprune.recipe import Recipe, curve_of, toml_options
from onnxprune.recipe.base import is_callable
from onnxprune.report.outputs import beside

__all__ = ["CheckedRecipe", "check_recipe"]

_PLACEHOLDER = "model.onnx"


@dataclass(frozen=True)
class CheckedRecipe:
    """What a recipe sets.

    Attributes:
        recipe: Path of the file.
        options: Option → value as JSON holds it, in the order of the file.
        left_open: What a run still has to be given.
        notes: What was not checked, and why.
    """

    recipe: str
    options: Mapping[str, Any]
    left_open: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def check_recipe(path: Path, model: str | None = None) -> CheckedRecipe:
    """Returns what a recipe sets, once it is in order.

    Args:
        path: A TOML file.
        model: The model that it is for; None for the one that it names, or any.

    Raises:
        InputError: when it cannot be read, or names files that are not there or cannot be used.
        UsageError: when an option is unknown, outside its domain, or does not go with another.
    """
    given = toml_options(path, {"model": model})
    filled, left_open = dict(given), []
    if "model" not in given:
        filled["model"] = _PLACEHOLDER
        left_open.append("MODEL")
    if not any(name in given for name in RESOURCES) and "plan" not in given and ":" not in str(given.get("block")):
        filled["flops"] = 1.0
        left_open.append("a budget")
    curve = curve_of(filled)
    recipes = (Recipe.from_mapping(filled),) if curve is None else curve.recipes
    first = recipes[0]
    for registry, name in ((ALLOCATORS, first.allocator), (CRITERIA, first.criterion)):
        if name != "auto":
            registry.get(name)  # says which there are
    missing = [*_missing(first, given), *(problem for recipe in recipes for problem in _unwritable(recipe))]
    if missing:
        raise InputError(f"Recipe {path}: {' '.join(dict.fromkeys(missing))}")
    planned = followed(first)
    if "model" in given:
        run_passes([ImportModel(first.model), *([] if planned is None else [planned.match()])], Bench())
    told = {name: given[name] if curve is not None and name in RESOURCES else getattr(first, name) for name in given}
    return CheckedRecipe(
        str(path), {name: option_text(_plain(value)) for name, value in told.items()}, tuple(left_open), _notes(first)
    )


def _missing(recipe: Recipe, given: Mapping[str, Any]) -> Iterator[str]:
    """Gives a sentence for each file that is named and not there."""
    for name in ("model", "data", "eval_data", "val_data", "plan"):
        value = getattr(recipe, name)
        if name not in given or (isinstance(value, str) and is_callable(value)):
            continue
        if isinstance(value, str | Path) and not Path(value).exists():
            yield f"{name} {value}: there is no such file or folder."


def _unwritable(recipe: Recipe) -> Iterator[str]:
    """Gives a sentence for each place that cannot be written."""
    for place in (recipe.out_path, *(beside(recipe.report_path) if recipe.report_path is not None else ())):
        try:
            if place is not None:
                check_place(place)
        except OutputError as error:
            yield str(error)


def _notes(recipe: Recipe) -> tuple[str, ...]:
    code = {name: getattr(recipe, name) for name in ("data", "eval_data", "val_data", "loss", "metric")}
    named = [f"{name} {value}" for name, value in code.items() if isinstance(value, str) and is_callable(value)]
    return (f"Your code was not loaded: {', '.join(named)}.",) if named else ()


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
