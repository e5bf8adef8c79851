"""Finding the rule for a node: (domain, operator, range of operator-set versions)."""

from __future__ import annotations

from onnxprune.core.errors import InternalError
from onnxprune.core.registry import Registry
from onnxprune.ops.base import OpRule

__all__ = ["OPS", "find_rule", "register_op"]

OPS: Registry[list[OpRule]] = Registry("operator", "onnxprune.ops")
_NEWEST = 10**6
_DEFAULT_DOMAINS = ("", "ai.onnx")


def _key(domain: str, name: str) -> str:
    return f"::{name}" if domain in _DEFAULT_DOMAINS else f"{domain}::{name}"


def register_op(cls: type[OpRule]) -> type[OpRule]:
    """Files an operator rule under its domain, names and version range."""
    rule = cls()
    for name in cls.names:
        key = _key(cls.domain, name)
        members = OPS.peek(key)
        if members is None:
            OPS.register(key)([rule])
            continue
        for other in members:
            if other.since <= (cls.until or _NEWEST) and cls.since <= (other.until or _NEWEST):
                raise InternalError(f"{key} has two rules for one version: {type(other).__name__} and {cls.__name__}")
        members.append(rule)
    return cls


def find_rule(domain: str | None, name: str, opset: int) -> OpRule | None:
    """Returns the rule for an operator at an operator-set version, or None."""
    members = OPS.find(_key(domain or "", name)) or []
    for rule in members:
        if rule.since <= opset <= (rule.until or _NEWEST):
            return rule
    return None
