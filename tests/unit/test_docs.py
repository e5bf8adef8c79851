"""The Python code in the documentation runs, block after block."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from bridging import convnet

PAGES = ("bridge.md",)
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


SLOW = "torch.compile"
"""Loading the compiler takes ten seconds; blocks that do are left out of the fast test."""


def _run(page: str, folder: Path, *, whole: bool) -> int:
    """Runs the blocks of a page in one namespace; returns how many there were."""
    text = (folder / page).read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "docs"}
    blocks = [block for block in FENCE.finditer(text) if whole or SLOW not in block.group(1)]
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        # blank lines in front make a failure name the line of the page
        exec(compile("\n" * line + block.group(1), str(folder / page), "exec"), names)
    return len(blocks)


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The model that the pages speak of, in the current folder."""
    onnx.save(convnet(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("net")
def test_python_code_on_the_page_runs(page, repository):
    assert _run(page, repository / "docs", whole=False) > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("net")
def test_python_code_on_the_page_runs_with_what_is_compiled(page, repository):
    assert _run(page, repository / "docs", whole=True) > 0
