"""The package's own files, parsed once for all tests that read them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "imports_in", "parsed", "sources"]

ROOT = Path(__file__).resolve().parents[1]


@cache
def sources() -> tuple[Path, ...]:
    """Returns the modules of the package, those of passes/ under their own folder."""
    inside = [p for p in (ROOT / "onnxprune").rglob("*.py") if "passes" not in p.relative_to(ROOT).parts]
    return tuple(sorted([*inside, *(ROOT / "passes").rglob("*.py")]))


@cache
def parsed(path: Path) -> ast.Module:
    """Returns a module's tree, which is not to be changed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_in(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Returns a module's import statements, those within functions included."""
    return tuple(node for node in ast.walk(parsed(path)) if isinstance(node, ast.Import | ast.ImportFrom))
