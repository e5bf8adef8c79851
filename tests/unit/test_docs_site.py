"""The documentation site: every page is in it, links lead somewhere, and the reference names what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import onnxprune

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]+)?\)")
OBJECT = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _nav_pages(entry: Any) -> list[str]:
    """Returns the pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in _nav_pages(value)]


def _anchors(page: Path) -> set[str]:
    """Returns what can be linked to on a page, as the site names its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in HEADING.findall(text)}


def test_every_page_is_in_the_navigation_once() -> None:
    yaml = pytest.importorskip("yaml", reason="the site's description is YAML")
    pages = _nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(pages) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve() if target else page
        outside = DOCS in page.parents and DOCS not in path.parents  # the site has nothing else
        if not path.exists() or outside or (anchor and path.suffix == ".md" and anchor[1:] not in _anchors(path)):
            broken.append(target + anchor)
    assert broken == []


@pytest.mark.parametrize("page", sorted((DOCS / "reference").glob("*.md")), ids=lambda page: page.stem)
def test_the_reference_names_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = OBJECT.findall(text)
    assert names
    for name in names:
        holder, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(holder), last, None) if holder else importlib.import_module(name)
        assert found is not None or importlib.import_module(name), f"{name} is not there"


def test_the_reference_shows_all_public_calls() -> None:
    text = (DOCS / "reference" / "calls.md").read_text(encoding="utf-8")
    (members,) = re.findall(r"members: \[(.*)\]", text)
    calls = {name for name in onnxprune.__all__ if name.islower() and not name.startswith("_")}
    assert set(members.split(", ")) == calls
