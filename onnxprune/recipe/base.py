"""What the options of every command have in common: where they come from, and what is said when they are wrong."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from onnxprune.core.errors import InputError, UsageError
from onnxprune.core.gate import Gate
from onnxprune.recipe.fields import Channels

__all__ = ["Options", "check_gates", "check_images", "is_callable", "toml_options"]

_ARGUMENTS = ("model", "original", "slim")
_PATHS = ("model", "slim", "teacher", "out", "data", "eval_data", "val_data", "run_dir", "report", "plan")


class Options(BaseModel):
    """Options that explain themselves in the words of the command line when they are wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            options = handler(values)
        except ValidationError as error:
            raise UsageError(_explain(error, cls.model_fields)) from error
        options.check_together()
        return options

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Returns the options that `values` describe; None stands for "not given".

        Raises:
            UsageError: when an option is unknown, missing or outside its domain.
        """
        return cls.model_validate({key: value for key, value in values.items() if value is not None})

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Self:
        """Returns the recipe written in a TOML file, with `overrides` laid over it.

        Args:
            path: The file; relative paths in it start from its folder.
            overrides: Option → value; None stands for "not given".

        Raises:
            InputError: when the file cannot be read or is not TOML.
            UsageError: when an option is unknown, missing or outside its domain.
        """
        return cls.from_mapping(toml_options(path, overrides))


def toml_options(path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the options written in a TOML file, unchecked, with `overrides` laid over them.

    An empty text in the file stands for "not given".

    Raises:
        InputError: when the file cannot be read or is not TOML.
    """
    return _read_toml(Path(path)) | {key: value for key, value in (overrides or {}).items() if value is not None}


def check_images(mean: Channels | None, std: Channels | None, *, has_data: bool) -> None:
    """Checks what turns pixels into inputs.

    Raises:
        UsageError: when there is nothing to turn, or a standard deviation is not positive.
    """
    for flag, value in (("--image-mean", mean), ("--image-std", std)):
        if value is not None and not has_data:
            raise UsageError(f"{flag} speaks of images, and there is no data. Give data, or leave {flag} out.")
    if std is not None and min(std) <= 0:
        raise UsageError(f"--image-std {min(std):g}: a standard deviation is greater than zero.")


def check_gates(gates: Iterable[Gate], *, has_data: bool, has_metric: bool) -> None:
    """Checks that what the gates bound is measured.

    Raises:
        UsageError: when it is not.
    """
    for gate in gates:
        if gate.needs_evaluation and not has_data:
            raise UsageError(f"--gate {gate} needs evaluation data. Give it, or leave the gate out.")
        if gate.metric in ("metric", "metric_drop") and not has_metric:
            raise UsageError(f"--gate {gate} bounds a metric of your own. Name it with --metric.")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Recipe {path}: cannot be read ({error.strerror}). Give the path of a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Recipe {path}: not TOML: {error}.") from error
    # TOML has no null: an empty text says that an option is not set
    values = {key.replace("-", "_"): value for key, value in content.items() if value != ""}
    return {key: _from_folder(path.parent, value) if key in _PATHS else value for key, value in values.items()}


def _from_folder(folder: Path, value: Any) -> Any:
    # "package.module:name" is no path, wherever the file lies
    if not isinstance(value, str) or is_callable(value):
        return value
    return str(folder / value)


def is_callable(text: str) -> bool:
    """Returns whether a data source is "package.module:name"."""
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _flag(name: str) -> str:
    return name.upper() if name in _ARGUMENTS else "--" + name.replace("_", "-")


def _explain(error: ValidationError, fields: Iterable[str]) -> str:
    """Returns one sentence per problem, in the words of the command line."""
    sentences = []
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "missing":
            sentences.append(f"{_flag(name)} is missing.")
        elif problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, fields, n=3, cutoff=0.65)
            hint = f" Did you mean {', '.join(near)}?" if near else f" Known: {', '.join(fields)}."
            sentences.append(f"There is no option {name!r}.{hint}")
        else:
            reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            sentence = f"{_flag(name)} {problem['input']}: {reason}."
            if sentence not in sentences:
                sentences.append(sentence)
    return " ".join(sentences)
