"""How single options are read: from text, from numbers, from objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from onnxprune.core.budget import Budget
from onnxprune.core.gate import Gate
from onnxprune.core.plan import Plan

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    ModelSource = Path | onnx.ModelProto
    DataSource = str | Mapping[str, NDArray[Any]]
    PlanSource = Path | Plan

__all__ = [
    "Align",
    "Channels",
    "Counts",
    "DataSource",
    "Gates",
    "ImageSize",
    "ModelSource",
    "Names",
    "PlanSource",
    "ReportPath",
    "budget",
    "read_counts",
]


def _model(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return Path(value)
    if type(value).__name__ == "ModelProto":
        return value
    raise ValueError(
        f"expected a path or an onnx.ModelProto, found {type(value).__name__} (onnxprune.bridge.from_torch makes a "
        "ModelProto of a torch.nn.Module)"
    )


def _plan(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return Path(value)
    if isinstance(value, Plan):
        return value
    raise ValueError(f"expected a path or an onnxprune plan, found {type(value).__name__}")


def budget(resource: str) -> BeforeValidator:
    """Returns the reader of a budget of `resource`."""

    def parse(value: Any) -> Any:
        if value is None or (isinstance(value, Budget) and value.resource == resource):
            return value
        # bool is an int to Python: true would mean the whole model
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("expected a fraction, a percentage, or a number with a unit")
        return Budget.parse(resource, value)

    return BeforeValidator(parse)


def _align(value: Any) -> Any:
    if value == "auto":
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError('expected "auto" or a whole number of at least 1')
    return value


def _numbers(value: Any) -> Any:
    """Returns "0.5,0.4" and 0.5 as tuples; what else comes, pydantic judges."""
    if isinstance(value, str):
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            raise ValueError("expected a number, or numbers separated by commas") from None
    return (value,) if isinstance(value, int | float) else value


def _size(value: Any) -> Any:
    """Returns "224", "224,160", 224 and (224, 160) as (height, width)."""
    if isinstance(value, str):
        value = [part.strip() for part in value.replace("x", ",").split(",")]
        if not all(part.isdecimal() for part in value):
            raise ValueError("expected pixels, such as 224, or height and width, such as 224,160")
        value = [int(part) for part in value]
    parts = [value] if isinstance(value, int) else list(value)
    parts = parts * 2 if len(parts) == 1 else parts
    if len(parts) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 1 for v in parts):
        raise ValueError("expected pixels, such as 224, or height and width, such as 224,160")
    return tuple(parts)


def read_counts(value: Any) -> Any:
    """Returns "1,8" and 8 as tuples of whole numbers."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not parts or not all(part.isdecimal() for part in parts):
            raise ValueError("expected whole numbers separated by commas, such as 1,8,32")
        return tuple(map(int, parts))
    return (value,) if isinstance(value, int) else value


def _report(value: Any) -> Any:
    """Returns the place of report.json; what it is called must leave room for the files beside it."""
    path = Path(value) if isinstance(value, str | os.PathLike) else value
    if isinstance(path, Path) and path.suffix.lower() in (".html", ".md"):
        raise ValueError(f"names report.json, and {path.suffix} files are written beside it; end it in .json")
    return path


def _names(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _gates(value: Any) -> Any:
    """Returns one text, one gate or several of either as gates."""
    several = value if isinstance(value, list | tuple) else (value,)
    return tuple(Gate.parse(item) if isinstance(item, str) else item for item in several)


def _data(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping) or callable(value):
        return value
    raise ValueError(
        "expected a path, a mapping from names to arrays, or a function that gives batches, found "
        f"{type(value).__name__}"
    )


if not TYPE_CHECKING:
    # onnx is imported where a model is read, not for the sake of a type; arrays are data's to judge
    ModelSource = Annotated[Any, BeforeValidator(_model)]
    DataSource = Annotated[Any, BeforeValidator(_data)]
    PlanSource = Annotated[Any, BeforeValidator(_plan)]
Align = Annotated[int | Literal["auto"], BeforeValidator(_align)]
Gates = Annotated[tuple[Gate, ...], BeforeValidator(_gates)]
Channels = Annotated[tuple[float, ...], BeforeValidator(_numbers), Field(min_length=1)]
ImageSize = Annotated[tuple[int, int], BeforeValidator(_size)]
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(read_counts)]
ReportPath = Annotated[Path, BeforeValidator(_report)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
