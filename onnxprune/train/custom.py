"""The user's own code, named on the command line as `pkg.mod:name`.

A metric is one function for both sides: the training loop and the evaluation in onnxruntime
call it with numpy arrays. This module needs numpy only.
"""

from __future__ import annotations

import difflib
import importlib
import math
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import DataError, UsageError

__all__ = ["CustomMetric", "load_callable", "load_metric"]

Arrays = Mapping[str, NDArray[Any]]


def load_callable(text: str, what: str) -> Callable[..., Any]:
    """Returns the callable that `text` names.

    The current folder comes first on the import path while the module is imported, and stays on
    it at the end, so that imports inside functions work later.

    Args:
        text: `pkg.mod:name`; the name may have dots (`mod:Class.method`).
        what: What messages call it, such as "loss" or "metric".

    Raises:
        UsageError: when the text has another form, or there is no such module or name.
        DataError: when the module raises while it is imported.
    """
    module_name, colon, name = text.partition(":")
    if not (colon and name and all(part.isidentifier() for part in (*module_name.split("."), *name.split(".")))):
        raise UsageError(
            f"{what} = {text!r}: write it as pkg.mod:name, the import name of a module, a colon, and the name of a "
            "function in it; for example my_code:my_function for my_code.py in the current folder."
        )
    found: Any = _import(module_name, text, what)
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{what} = {text!r}: {_where(found)} has no {part!r}.{_near(part, found)}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{what} = {text!r} is of type {type(found).__name__}; expected a function.")
    return found  # type: ignore[no-any-return]  # what callable() lets through is Any


def _import(name: str, text: str, what: str) -> ModuleType:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"{what} = {text!r}: there is no module {error.name!r}, neither in the current folder {folder!r} nor "
                "among the installed packages. Run the command where the file is, or set PYTHONPATH."
            ) from error
        raise DataError(f"{what} = {text!r}: module {name!r} needs {error.name!r}, which is not installed.") from error
    except (Exception, SystemExit) as error:
        raise DataError(
            f"{what} = {text!r}: module {name!r} fails while it is imported: {describe_exception(error)}."
        ) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        # behind everything else: a file of the user's must not hide a library that is imported later
        if folder not in sys.path:
            sys.path.append(folder)


def _where(holder: Any) -> str:
    if isinstance(holder, ModuleType):
        file = getattr(holder, "__file__", None)
        return f"module {holder.__name__!r}" + (f" ({file})" if file else "")
    return f"{getattr(holder, '__qualname__', type(holder).__name__)!r}"


def _near(name: str, holder: Any) -> str:
    public = [key for key in dir(holder) if not key.startswith("_") and callable(getattr(holder, key, None))]
    near = difflib.get_close_matches(name, public, n=3, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else ""


class CustomMetric:
    """The user's metric, with its answers checked.

    Args:
        function: Called as function(outputs, labels, teacher): the model's outputs by name, the
            labels or None, and the original model's outputs by name, as numpy arrays of one
            batch. It gives one finite number, higher is better.
        text: What messages call it.
    """

    def __init__(self, function: Callable[..., Any], text: str) -> None:
        self._function = function
        self.text = text

    def __call__(self, outputs: Arrays, labels: NDArray[Any] | None, teacher: Arrays) -> float:
        """Returns the metric of a batch.

        Raises:
            DataError: when the function raises, or gives anything but one finite number.
        """
        try:
            found = self._function(dict(outputs), labels, dict(teacher))
        except Exception as error:
            raise DataError(f"metric = {self.text!r} failed: {describe_exception(error)}.") from error
        try:
            value = float(found)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"metric = {self.text!r} gave a {type(found).__name__}; expected one number, higher is better."
            ) from error
        if not math.isfinite(value):
            raise DataError(f"metric = {self.text!r} gave {value}; expected a finite number, higher is better.")
        return value


def load_metric(text: str) -> CustomMetric | None:
    """Returns the metric that `text` names, or None for the empty text.

    Raises:
        UsageError, DataError: as `load_callable`.
    """
    return CustomMetric(load_callable(text, "metric"), text) if text else None
