"""The notebook's cells run in order, and what they leave behind is what its text says."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest


def _run_cell(source: str, names: dict[str, Any], where: str) -> Any:
    """Runs a cell; returns the value of its last line where that is an expression, as notebooks show it."""
    tree = ast.parse(source, where)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names) if last is not None else None


@pytest.fixture
def notebook(repository: Path) -> Any:
    """The notebook's content."""
    return json.loads((repository / "samples" / "notebook" / "compress.ipynb").read_text(encoding="utf-8"))


def test_notebook_is_clean(notebook: Any) -> None:
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in codes] == [([], None)] * len(codes)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@pytest.mark.slow
@pytest.mark.usefixtures("quick_latency")
def test_cells_of_the_notebook_run(
    notebook: Any,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("sklearn", reason="the notebook needs the demo extra")
    monkeypatch.chdir(repository / "samples" / "notebook")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("network", "run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = None
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            shown = _run_cell("".join(cell["source"]), names, cell["id"]) or shown
    said = capsys.readouterr().out
    assert "M MACs, at least" in said
    assert "stays: " in said
    assert "certificate: passed" in said
    result = names["result"]
    assert result.report["after"]["macs"] <= 0.4 * result.report["before"]["macs"]
    assert result.report["evaluation"]["after"]["top1"] >= 0.9
    marks = ElementTree.fromstring(shown._repr_html_())
    dark = [mark for mark in marks if mark.get("fill") == "#223a66"]
    assert len(dark) == sum(len(kept) for kept in result.plan.kept.values())
    assert len([mark for mark in marks if mark.tag.endswith("rect")]) == sum(result.plan.sizes.values())
