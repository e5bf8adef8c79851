"""Finding the rule for a node: (domain, operator, range of operator-set versions).

Operators with an axis rule are in `OPS`. Those that only have a PyTorch counterpart are in `TWINS`:
what they touch is frozen, but models that hold them can be retrained.
"""

from __future__ import annotations

from typing import TypeVar

from onnxprune.core.errors import InternalError
from onnxprune.core.registry import Registry
from onnxprune.ops.base import OpRule
from onnxprune.ops.twin import Twin

__all__ = ["OPS", "TWINS", "find_rule", "find_twin", "register_op", "register_twin"]

OPS: Registry[list[OpRule]] = Registry("operator", "onnxprune.ops")
TWINS: Registry[list[Twin]] = Registry("PyTorch counterpart", "onnxprune.ops")
T = TypeVar("T", OpRule, Twin)
_NEWEST = 10**6
_DEFAULT_DOMAINS = ("", "ai.onnx")


def _key(domain: str, name: str) -> str:
    return f"::{name}" if domain in _DEFAULT_DOMAINS else f"{domain}::{name}"


def register_op(cls: type[OpRule]) -> type[OpRule]:
    """Files an operator rule under its domain, names and version range."""
    _file(OPS, cls)
    return cls


def register_twin(cls: type[Twin]) -> type[Twin]:
    """Files the counterpart of an operator that has no axis rule."""
    _file(TWINS, cls)
    return cls


def _file(registry: Registry[list[T]], cls: type[T]) -> None:
    rule = cls()
    for name in cls.names:
        key = _key(cls.domain, name)
        members = registry.peek(key)
        if members is None:
            registry.register(key)([rule])
            continue
        for other in members:
            if other.since <= (cls.until or _NEWEST) and cls.since <= (other.until or _NEWEST):
                raise InternalError(f"{key} has two rules for one version: {type(other).__name__} and {cls.__name__}")
        members.append(rule)


def find_rule(domain: str | None, name: str, opset: int) -> OpRule | None:
    """Returns the rule for an operator at an operator-set version, or None."""
    return _find(OPS, domain, name, opset)


def find_twin(domain: str | None, name: str, opset: int) -> OpRule | Twin | None:
    """Returns what has the PyTorch counterpart of an operator at an operator-set version, or None."""
    return find_rule(domain, name, opset) or _find(TWINS, domain, name, opset)


def _find(registry: Registry[list[T]], domain: str | None, name: str, opset: int) -> T | None:
    for rule in registry.find(_key(domain or "", name)) or []:
        if rule.since <= opset <= (rule.until or _NEWEST):
            return rule
    return None
