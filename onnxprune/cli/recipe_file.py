"""A recipe with every option, each with its meaning, its domain and its default.

The text is made from the fields of `Recipe` and the help of `onnxprune compress`, so that it says what both say.
"""

from __future__ import annotations

import json
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union

import click
from pydantic.fields import FieldInfo

from onnxprune.core.budget import Budget
from onnxprune.core.errors import InternalError
from onnxprune.recipe import Recipe

__all__ = ["recipe_text"]

_WIDTH = 110
_HEAD = """\
Options of onnxprune. Check this file with `onnxprune recipe --check`, run it with `onnxprune compress --recipe`.
Paths are relative to this file; what the command line gives overrides it.
Lines with # and a name are options as they are when nothing is set: take the # away and change the value.
An empty text, "", means that an option is not set."""
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "The model, and where results go": ("model", "out", "report", "run_dir", "resume", "checkpoint_seconds"),
    "Budgets: set at least one; all that are set must hold": ("flops", "params", "size", "memory", "latency"),
    "What goes": (
        "pattern",
        "allocator",
        "criterion",
        "criterion_reduce",
        "criterion_normalize",
        "approximate",
        "align",
        "search_epochs",
        "search_constraint",
        "search_masks",
        "search_carry",
        "from_scratch",
        "block",
        "saliency",
        "permute",
        "block_sparse",
    ),
    "A plan, instead of deciding": ("plan", "other_weights"),
    "Data": (
        "data",
        "eval_data",
        "val_data",
        "val_share",
        "image_mean",
        "image_std",
        "image_size",
        "skip_corrupt",
    ),
    "Turns of pruning and retraining": ("phases", "iteration", "dense_epochs"),
    "Checks and timing": ("gates", "metric", "provider", "threads", "batches", "profile", "seed"),
}
_OTHERS = "Recovery and retraining, with data"
_DEFAULT = re.compile(r"\s*\[default: (.*?)\]\s*")
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def recipe_text(command: click.Command, model: str = "") -> str:
    """Returns a TOML file with every option of a recipe.

    Args:
        command: `onnxprune compress`, whose help says what options mean.
        model: The model, as the file is to name it; "" leaves it open.
    """
    helps = {param.name: param.help for param in command.params if isinstance(param, click.Option)}
    helps["model"] = "The model to compress."
    named = {name for names in _SECTIONS.values() for name in names}
    sections = {**_SECTIONS, _OTHERS: tuple(name for name in Recipe.model_fields if name not in named)}
    lines = [f"# {line}" for line in _HEAD.splitlines()]
    for title, names in sections.items():
        lines += ["", f"# ---- {title} ----"]
        for name in names:
            lines += ["", *_option(name, Recipe.model_fields[name], helps.get(name) or "", model)]
    return "\n".join(lines) + "\n"


def _option(name: str, field: FieldInfo, told: str, model: str) -> Iterator[str]:
    """Gives the comment and the line of one option."""
    if not told:
        raise InternalError(f"compress has no help for the option {name!r}")
    default = _DEFAULT.search(told)
    meaning = _DEFAULT.sub(" ", told).strip()
    domain = _domain(field)
    words = [meaning if meaning.endswith(".") else f"{meaning}."]
    if domain:
        words.append(f"{domain[0].upper()}{domain[1:]}.")
    if default is not None and field.default is None:
        words.append(f"If not set: {default[1]}.")
    yield from (f"# {line}" for line in textwrap.wrap(" ".join(words), _WIDTH, break_on_hyphens=False))
    if name == "model" and model:
        yield f"model = {_value(model)}"
    else:
        yield f"#{name} = {_value('' if field.is_required() else field.default)}"


def _value(value: Any) -> str:
    """Returns a default as TOML writes it."""
    if value is None:
        return '""'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _domain(field: FieldInfo) -> str:
    """Returns what an option takes, "" where its help has to say."""
    kinds, rules = _kinds(field.annotation), list(field.metadata)
    if bool in kinds:
        return "true or false"
    choices = [choice for kind in kinds if typing.get_origin(kind) is Literal for choice in typing.get_args(kind)]
    bounds = [
        f"{words} {bound:g}"
        for key, words in _BOUNDS
        for rule in rules
        if (bound := getattr(rule, key, None)) is not None
    ]
    numbers = [words for kind, words in ((int, "a whole number"), (float, "a number")) if kind in kinds]
    if numbers:
        number = " ".join([numbers[0], " and ".join(bounds)]).strip()
        return " or ".join([*map(json.dumps, choices), number])
    if choices:
        return f"one of {', '.join(map(json.dumps, choices))}"
    if Budget in kinds:
        return "a share, a percentage, or a figure with its unit"
    if Path in kinds:
        return "a path"
    return "a list" if any(typing.get_origin(kind) is tuple for kind in kinds) else ""


def _kinds(annotation: Any) -> list[Any]:
    """Returns the types that a field takes, but for None."""
    if typing.get_origin(annotation) is Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, UnionType):
        return [kind for part in typing.get_args(annotation) for kind in _kinds(part)]
    return [] if annotation is NoneType else [annotation]
