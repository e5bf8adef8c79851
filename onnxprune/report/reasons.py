"""Several reasons as one sentence: those that differ in the node's name only are said once."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["condensed"]

_NODE = re.compile(r"(\S+) '([^']*)'(.*)", re.DOTALL)


def condensed(reasons: Iterable[str]) -> str:
    """Returns the reasons, joined; "Op 'a' does x" and "Op 'b' does x" become "Op 'a' and 1 more: does x"."""
    names: dict[tuple[str, str] | str, list[str]] = {}
    for reason in reasons:
        found = _NODE.fullmatch(reason)
        key: tuple[str, str] | str = (found[1], found[3]) if found is not None else reason
        names.setdefault(key, []).append(found[2] if found is not None else "")
    return "; ".join(_sentence(key, nodes) for key, nodes in names.items())


def _sentence(key: tuple[str, str] | str, nodes: list[str]) -> str:
    if isinstance(key, str):
        return key
    op, rest = key
    if len(nodes) == 1:
        return f"{op} '{nodes[0]}'{rest}"
    return f"{op} '{nodes[0]}' and {len(nodes) - 1} more: {rest.removeprefix(':').strip()}"
