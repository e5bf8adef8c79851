"""What was asked, in words that can be given again; and checks of what is given to every call."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx

from onnxprune.core.budget import Budget
from onnxprune.core.errors import OutputError, UsageError
from onnxprune.core.gate import Gate
from onnxprune.core.plan import Plan
from onnxprune.recipe.base import Options

__all__ = [
    "ModelLike",
    "budgets_text",
    "check_place",
    "command_line",
    "deciding_options",
    "lasting_options",
    "model_source",
    "option_text",
    "recipe_digest",
    "recipe_options",
]

ModelLike = str | os.PathLike[str] | onnx.ModelProto


def recipe_options(recipe: Options) -> dict[str, Any]:
    """Returns every option of a recipe as JSON values; what lies in memory by its type."""
    return {name: option_text(getattr(recipe, name)) for name in type(recipe).model_fields}


_PLACES = ("model", "slim", "teacher", "out", "report", "run_dir", "resume", "checkpoint_seconds", "plan")
_SOURCES = ("data", "eval_data", "val_data")
_AFTER = ("batches", "block_sparse", "compile", "device", "eval_data", "gates", "other_weights", "profile", "recover")
_TIMED = ("provider", "threads")


def lasting_options(recipe: Options) -> dict[str, Any]:
    """Returns all options that a result depends on, as JSON values.

    Where files lie is none of them; data count by the name of their file.
    """
    options = {name: value for name, value in recipe_options(recipe).items() if name not in _PLACES}
    for name in _SOURCES:
        value = options.get(name)
        if isinstance(value, str):
            options[name] = Path(value).name
    return options


def recipe_digest(recipe: Options, plan: Plan | None = None) -> str:
    """Returns the SHA-256 of all options that a result depends on, in hexadecimal.

    Args:
        recipe: The options; where a plan is carried out, with those that it was made with.
        plan: That plan. One that these very options lead to adds nothing to them, so that deciding and carrying out
            apart gives the bytes of doing both at once; any other counts as it is.
    """
    options = lasting_options(recipe)
    if plan is not None and not _leads_to(options, plan):
        options["plan"] = plan.digest()
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def _leads_to(options: Mapping[str, Any], plan: Plan) -> bool:
    return plan.as_decided and all(plan.options.get(name) == value for name, value in _deciding(options).items())


def deciding_options(recipe: Options) -> dict[str, Any]:
    """Returns the options that a plan depends on, as JSON values; those of a provider where something is timed."""
    return _deciding(lasting_options(recipe))


def _deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    idle = _AFTER if options.get("latency") is not None else (*_AFTER, *_TIMED)
    return {name: value for name, value in options.items() if name not in idle}


def option_text(value: Any) -> Any:
    """Returns an option's value as JSON would hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [option_text(v) for v in value]
    if isinstance(value, Budget):
        return f"{value.value:g}" if value.relative else f"{value.value:g} {value.resource}"
    return str(value) if isinstance(value, Path | Gate) else f"<{type(value).__name__}>"


def budgets_text(budgets: Iterable[Budget]) -> str:
    """Returns budgets as a model file names them: "flops 0.4, size 800000B"."""
    return ", ".join(f"{budget.resource} {_budget_text(budget)}" for budget in budgets)


def command_line(command: str, options: Options, arguments: tuple[str, ...]) -> str:
    """Returns the command that repeats a run.

    Args:
        command: "compress" or another.
        options: What was asked.
        arguments: Options that the command takes by position.
    """
    words = ["onnxprune", command]
    for name in arguments:
        value = getattr(options, name)
        words += [str(option_text(each)) for each in (value if isinstance(value, tuple) else (value,))]
    for name, info in type(options).model_fields.items():
        value = getattr(options, name)
        if name in (*arguments, "resume") or value is None or value == info.get_default(call_default_factory=True):
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif name == "gates":
            words += [word for gate in value for word in ("--gate", str(gate))]
        elif name == "dims":
            words += [word for dim, sizes in value.items() for word in ("--dim", f"{dim}={','.join(map(str, sizes))}")]
        elif isinstance(value, tuple):
            words += [f"--{flag}", ",".join(v if isinstance(v, str) else f"{v:g}" for v in value)]
        else:
            words += [f"--{flag}", _budget_text(value) if isinstance(value, Budget) else str(option_text(value))]
    return shlex.join(words)


def _budget_text(budget: Budget) -> str:
    if budget.relative:
        return f"{budget.value:g}"
    if budget.resource == "latency":
        return f"{budget.value:g}us"
    return f"{budget.value:.0f}B" if budget.resource in ("size", "memory") else f"{budget.value / 1e6:g}M"


def check_place(path: Path) -> None:
    """Checks early that a result can be written, so that nobody trains for nothing.

    Raises:
        OutputError: when it cannot.
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file.")
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist. Create it, or write elsewhere.")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable. Change its permissions, or write elsewhere.")


def model_source(model: ModelLike) -> Path | onnx.ModelProto:
    """Returns what a caller gave for a model as a path or a model in memory.

    Raises:
        UsageError: when it is neither.
    """
    if isinstance(model, str | os.PathLike):
        return Path(model)
    if isinstance(model, onnx.ModelProto):
        return model
    raise UsageError(f"Expected a path or an onnx.ModelProto, found {type(model).__name__}.")
