"""Imports only go down the list of rooms, and heavy libraries stay in theirs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sources import ROOT, imports_in, parsed, sources

_ABOVE_RUNTIME = (
    "adapters",
    "calls",
    "cli",
    "pipeline",
    "recipe",
    "passes",
    "allocate",
    "criteria",
    "trial",
    "train",
    "cost",
    "report",
    "recover",
    "bridge",
)
ROOMS = (*_ABOVE_RUNTIME, "runtime", "kernels", "tiles", "groups", "ops", "axes", "graph", "core")
# the package itself and `python -m onnxprune` sit on top of everything
ABOVE_ALL = ("onnxprune/__init__.py", "onnxprune/__main__.py")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "passes" else parts[1]


def _modules(node: ast.AST) -> Iterator[str]:
    """Yields what an import statement imports, with its dots."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields the statements that run when a module is imported; not those under TYPE_CHECKING."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _at_import_time(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from _at_import_time(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _at_import_time(handler.body)


def test_every_room_is_listed() -> None:
    found = {_room(path) for path in sources() if _name(path) not in ABOVE_ALL}
    assert found <= set(ROOMS)


def test_imports_go_down() -> None:
    upward = []
    for path in sources():
        if _name(path) in ABOVE_ALL:
            continue
        level = ROOMS.index(_room(path))
        for node in imports_in(path):
            rooms = [m.split(".")[1] for m in _modules(node) if m.startswith("onnxprune.")]
            upward += [(_name(path), room) for room in rooms if room in ROOMS and ROOMS.index(room) < level]
    assert upward == []


def test_torch_is_imported_only_by_rooms_that_compute() -> None:
    importers = set()
    for path in sources():
        body = _at_import_time(parsed(path).body)
        if any(m.split(".")[0] == "torch" for node in body for m in _modules(node)):
            importers.add(_room(path))
    assert importers <= {"bridge", "train", "trial"}


def test_onnxruntime_is_imported_only_by_runtime() -> None:
    importers = set()
    for path in sources():
        if any(m.split(".")[0] == "onnxruntime" for node in imports_in(path) for m in _modules(node)):
            importers.add(_room(path))
    assert importers <= {"runtime"}


def test_no_relative_imports() -> None:
    relative = [
        _name(path)
        for path in sources()
        for node in imports_in(path)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
