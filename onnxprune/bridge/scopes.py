"""Tensors held under names with dots, as PyTorch wants them: one nested scope per dot.

`nn.Module` refuses a dot in a parameter's name, and `named_parameters`, `state_dict` and
`torch.func.functional_call` all read dots as nesting. "body.0.weight" therefore lives as
"weight" in scope "0" of scope "body", and every one of these calls sees the ONNX name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["Cell", "Scope", "hold"]

Cell = tuple[dict[str, Any], str]
"""The table that holds a tensor, and its key there."""


class Scope(nn.Module):
    """Holds tensors and further scopes."""

    def __getattr__(self, name: str) -> Any:
        # "a" and "a.b" may both be tensors: a path of dots means the scope, not the tensor
        modules = self.__dict__.get("_modules", {})
        return modules[name] if name in modules else super().__getattr__(name)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # torch takes a dot in a key of this very scope for a missing sub-module
        own = {prefix + name for table in (self._parameters, self._buffers) for name in table}
        unexpected_keys[:] = [key for key in unexpected_keys if key not in own]


def hold(root: Scope, name: str, tensor: torch.Tensor, *, parameter: bool, persistent: bool = True) -> Cell:
    """Puts a tensor under `name` and returns where it lies.

    Args:
        root: The outermost scope.
        name: An ONNX name. Where its parts cannot be nested (an empty part, or a part that is
            a method of `nn.Module`), the tensor lies in `root` under the whole name.
        tensor: The value.
        parameter: Whether it is a parameter (trained) or a buffer.
        persistent: Whether a buffer belongs to the state dict.
    """
    scope, leaf = _place(root, name)
    if parameter:
        scope._parameters[leaf] = nn.Parameter(tensor)
        return scope._parameters, leaf
    scope._buffers[leaf] = tensor
    if not persistent:
        scope._non_persistent_buffers_set.add(leaf)
    return scope._buffers, leaf


def _place(root: Scope, name: str) -> tuple[Scope, str]:
    *path, leaf = name.split(".")
    if not leaf or any(not part or part in root.__dict__ or hasattr(type(root), part) for part in path):
        return root, name
    scope = root
    for part in path:
        child = scope._modules.get(part)
        if not isinstance(child, Scope):
            child = Scope()
            scope._modules[part] = child
        scope = child
    return scope, leaf
