"""Example inputs of a module of the user's: bound to names and grown or shrunk along dynamic dimensions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onnxprune.core.errors import UsageError

__all__ = ["BATCH", "Dynamic", "ExampleInputs", "Examples", "bind"]

ExampleInputs = Tensor | np.ndarray | Sequence[Any] | Mapping[str, Any]
Dynamic = Mapping[str, Mapping[int, str]]
BATCH = "batch"
"""Name of the dynamic dimension of samples."""


@dataclass(frozen=True)
class Examples:
    """What a module is called with.

    Attributes:
        names: Names of the inputs, in the order of the module's arguments.
        values: Their tensors, on the module's device.
        positional: How many of them, from the first, are given by position; the rest by argument name.
        arguments: Names of the module's arguments that the rest is given to.
        dynamic: Input name → axis → name of the dimension.
    """

    names: tuple[str, ...]
    values: tuple[Tensor, ...]
    positional: int
    arguments: tuple[str, ...]
    dynamic: Dynamic

    @property
    def copies(self) -> tuple[Tensor, ...]:
        """The tensors again: a module may write into what it is called with."""
        return tuple(value.clone() for value in self.values)

    def arguments_of(self, values: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Returns one tensor for each input as what goes by position, and what goes by name."""
        return tuple(values[: self.positional]), dict(zip(self.arguments, values[self.positional :], strict=True))

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        """The same by input name, as arrays."""
        return {name: value.detach().cpu().numpy() for name, value in zip(self.names, self.values, strict=True)}

    @property
    def dims(self) -> dict[str, int]:
        """Dynamic dimension → its size in these examples."""
        sizes = dict(zip(self.names, (value.shape for value in self.values), strict=True))
        return {dim: sizes[name][axis] for name, axes in self.dynamic.items() for axis, dim in axes.items()}

    def doubled(self, dim: str) -> Examples:
        """Returns the same with every axis of a dynamic dimension twice as long, its content repeated."""
        return self._along(dim, lambda value, axis: torch.cat([value, value], axis))

    def shortened(self, dim: str) -> Examples:
        """Returns the same without the last index of every axis of a dynamic dimension."""
        return self._along(dim, lambda value, axis: value.narrow(axis, 0, value.shape[axis] - 1).contiguous())

    def _along(self, dim: str, change: Any) -> Examples:
        values = list(self.values)
        for place, name in enumerate(self.names):
            for axis, found in self.dynamic.get(name, {}).items():
                if found == dim:
                    values[place] = change(values[place], axis)
        return replace(self, values=tuple(values))


def bind(
    module: nn.Module, given: ExampleInputs, input_names: Sequence[str] | None = None, dynamic: Dynamic | None = None
) -> Examples:
    """Returns example inputs bound to the arguments of a module's `forward`.

    Args:
        module: The module.
        given: One tensor or array, several in the order of the arguments, or a mapping from argument names.
        input_names: What the inputs are called in the graph, in the order of the arguments; by default as the
            arguments.
        dynamic: Input name → axis → name of the dimension. None: the first axis of the first input, and of each other
            input that is as long there, is "batch".

    Raises:
        UsageError: when they do not fit `forward`, or names do not fit them.
    """
    parameters = list(inspect.signature(module.forward).parameters.values())
    tensors, positional = _tensors(module, given, parameters)
    arguments = tuple(tensors)
    names = tuple(input_names) if input_names is not None else arguments
    if len(names) != len(arguments) or len(set(names)) != len(names) or not all(names):
        raise UsageError(
            f"input_names {', '.join(names) or 'is empty'}: there are {len(arguments)} example inputs "
            f"({', '.join(arguments)}). Give each one name of its own."
        )
    values = tuple(tensors.values())
    found = Examples(names, values, positional, arguments[positional:], {})
    return replace(found, dynamic=_batch(found) if dynamic is None else _checked(found, dynamic))


def _tensors(
    module: nn.Module, given: ExampleInputs, parameters: list[inspect.Parameter]
) -> tuple[dict[str, Tensor], int]:
    """Returns argument → tensor, and how many, from the first, go by position."""
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    kind = type(module).__name__
    if isinstance(given, Mapping):
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise UsageError(
                f"example_inputs names {', '.join(map(repr, unknown))}; {kind}.forward takes {', '.join(known)}."
            )
        ordered = [name for name in known if name in given]
        by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        positional = next((i for i, name in enumerate(ordered) if by_position[i : i + 1] != [name]), len(ordered))
        return {name: _tensor(name, given[name], device) for name in ordered}, positional
    several = (given,) if isinstance(given, Tensor | np.ndarray) else tuple(given)
    if not several:
        raise UsageError(f"example_inputs is empty; give {kind}.forward what it is called with.")
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        named += [f"input{i}" for i in range(len(named), len(several))]
    if len(several) > len(named):
        raise UsageError(f"There are {len(several)} example inputs, and {kind}.forward takes {len(named)} by position.")
    return {name: _tensor(name, value, device) for name, value in zip(named, several, strict=False)}, len(several)


def _tensor(name: str, value: Any, device: torch.device) -> Tensor:
    if isinstance(value, np.ndarray):
        try:
            value = torch.from_numpy(np.array(value))
        except TypeError as error:  # a dtype that PyTorch lacks
            raise UsageError(f"Example input {name!r} has dtype {value.dtype}, which PyTorch lacks.") from error
    if not isinstance(value, Tensor):
        raise UsageError(
            f"Example input {name!r} is of type {type(value).__name__}; expected a tensor or an array. Arguments that "
            "are neither have to be set within the module."
        )
    return value.detach().to(device)


def _batch(found: Examples) -> Dynamic:
    first = found.values[0]
    if not first.dim():
        return {}
    same = [name for name, value in zip(found.names, found.values, strict=True) if value.shape[:1] == first.shape[:1]]
    return {name: {0: BATCH} for name in same}


def _checked(found: Examples, dynamic: Dynamic) -> Dynamic:
    """Returns `dynamic` with axes counted from the front.

    Raises:
        UsageError: when it names inputs or axes that are not there, or one dimension has two sizes.
    """
    ranks = {name: value.dim() for name, value in zip(found.names, found.values, strict=True)}
    checked: dict[str, dict[int, str]] = {}
    for name, axes in dynamic.items():
        if name not in ranks:
            raise UsageError(f"dynamic names an input {name!r}; there are {', '.join(found.names)}.")
        for axis, dim in axes.items():
            if not -ranks[name] <= axis < ranks[name]:
                raise UsageError(f"dynamic names axis {axis} of {name!r}, which has {ranks[name]} axes.")
            checked.setdefault(name, {})[axis % ranks[name]] = dim
    sizes: dict[str, set[int]] = {}
    for name, value in zip(found.names, found.values, strict=True):
        for axis, dim in checked.get(name, {}).items():
            sizes.setdefault(dim, set()).add(value.shape[axis])
    for dim, several in sizes.items():
        if len(several) > 1:
            raise UsageError(
                f"The dynamic dimension {dim!r} has sizes {', '.join(map(str, sorted(several)))} in the examples. "
                "Give each dimension one size, or each size a dimension of its own."
            )
    return checked
