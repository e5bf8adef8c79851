"""The pages in a real browser: narrow and wide, light and dark, printed, without scripts, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Browser, find_chromium, open_browser
from report_samples import failed_report, rich_report

from onnxprune.report.comparison import Run, compare_runs
from onnxprune.report.page.comparison_page import comparison_html
from onnxprune.report.page.run_page import report_html
from onnxprune.report.schema import ModelRecord, Report

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path or in Playwright's cache")

WIDTHS = (360, 768, 1440)
KINDS = ("rich", "large", "failed", "bare", "comparison")
# what sticks out beyond the window, but for what lies in a box that scrolls by itself
OUTSIDE = """(() => {
  const wide = document.documentElement.clientWidth + 0.5;
  const inside = (e) => e.closest('.scroll, nav') !== null;
  return [...document.querySelectorAll('body *')]
    .filter((e) => !inside(e) && e.getBoundingClientRect().right > wide)
    .map((e) => `${e.tagName} ${e.getAttribute('class')}: ${e.textContent.slice(0, 40)}`);
})()"""
# text of drawings that leaves the page, or lies over other text of its drawing
CLIPPED = """[...document.querySelectorAll('svg.chart')].flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter((text) => {
    const own = text.getBoundingClientRect();
    return own.width && (own.left < box.left - 4 || own.right > document.documentElement.clientWidth
      || own.top < box.top - 4 || own.bottom > box.bottom + 4);
  }).map((text) => `${svg.getAttribute('aria-label').slice(0, 40)}: ${text.textContent}`);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all pages."""
    assert CHROMIUM is not None
    with open_browser(CHROMIUM) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [Run.from_report(report, folder / "r.json") for report in (rich_report(), rich_report(3), failed_report())]
    made = {
        "rich": report_html(rich_report()),
        "large": report_html(rich_report(groups=2000)),
        "failed": report_html(failed_report()),
        "bare": report_html(Report(command="onnxprune validate a b", model=ModelRecord())),
        "comparison": comparison_html(compare_runs(runs)),
    }
    for kind, text in made.items():
        (folder / f"{kind}.html").write_text(text, encoding="utf-8")
    return {kind: folder / f"{kind}.html" for kind in made}


@pytest.mark.parametrize(
    ("kind", "width"),
    [
        # a large report is laid out once in the fast suite
        pytest.param(kind, width, marks=[pytest.mark.slow] if kind == "large" and width != WIDTHS[0] else [])
        for width in WIDTHS
        for kind in KINDS
    ],
)
def test_page_fits_the_window_and_says_nothing_to_the_console(
    kind: str, width: int, browser: Browser, pages: dict[str, Path]
) -> None:
    for dark in (False, True):
        browser.open(pages[kind], width=width, dark=dark)
        # closed parts count, too
        browser.value("document.querySelectorAll('details').forEach((part) => { part.open = true })")
        assert browser.value("document.documentElement.scrollWidth") <= width
        assert browser.value(OUTSIDE) == []
        assert browser.value(CLIPPED) == []
        assert browser.complaints() == []
        light = browser.value("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
        assert (light < 60) if dark else (light > 240)


def test_text_stands_out_from_what_is_behind_it(browser: Browser, pages: dict[str, Path]) -> None:
    contrast = """(() => {
      const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      const luminance = (rgb) => rgb.match(/\\d+/g).slice(0, 3)
        .reduce((sum, c, i) => sum + [0.2126, 0.7152, 0.0722][i] * channel(+c), 0);
      const behind = (e) => {
        for (; e; e = e.parentElement) {
          const colour = getComputedStyle(e).backgroundColor;
          if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
        }
      };
      return [...document.querySelectorAll('p, td, th, li, dt, dd, a, h1, h2, h3, summary, .pill')].map((e) => {
        const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), `${e.tagName} ${e.className}`];
      }).filter(([ratio]) => ratio < 4.5);
    })()"""
    for kind in ("rich", "failed"):
        for dark in (False, True):
            browser.open(pages[kind], width=1440, dark=dark)
            assert browser.value(contrast) == []


def test_page_reads_the_same_without_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    shown = []
    for scripts in (True, False):
        browser.open(pages["rich"], width=768, scripts=scripts)
        tree = browser.call("DOMSnapshot.captureSnapshot", computedStyles=[])
        texts = {text for text in tree["strings"] if text.strip()}
        shown.append({text for text in texts if text not in ("Copy",)})
        assert browser.complaints() == []
    words = {"net.onnx", "Channels kept", "Search for keep ratios", "×0.60"}
    assert all(any(word in text for text in side) for side in shown for word in words)


def test_tables_are_sorted_and_groups_filtered_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["large"], width=1440)
    browser.value("document.getElementById('channels-filter').focus()")
    browser.call("Input.insertText", text="layers.7/block.3")
    assert browser.value("document.querySelector('.filter output').textContent") == "1 of 2000"
    visible = "[...document.querySelectorAll('#channels tbody tr')].filter((row) => row.checkVisibility()).length"
    assert browser.value(visible) == 1
    browser.open(pages["rich"], width=1440)
    kept = "[...document.querySelectorAll('.kept tbody tr')].map((row) => parseInt(row.cells[2].textContent))"
    before = browser.value(kept)
    browser.value("document.querySelectorAll('.kept thead th')[2].firstChild.focus()")
    for expected in (sorted(before), sorted(before, reverse=True)):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
        assert browser.value(kept) == expected
    assert browser.complaints() == []


def test_page_prints_whole(browser: Browser, pages: dict[str, Path]) -> None:
    for kind in ("rich", "failed", "comparison"):
        browser.open(pages[kind], width=700)
        browser.call("Emulation.setEmulatedMedia", media="print")
        # what scrolls on a screen must fit on paper, and what is folded must be there
        assert browser.value("[...document.querySelectorAll('figure, .card, pre')].every((e) => e.checkVisibility())")
        assert browser.value("getComputedStyle(document.body).backgroundColor") in (
            "rgb(255, 255, 255)",
            "rgba(0, 0, 0, 0)",
        )
        assert browser.value(CLIPPED) == []
        browser.call("Emulation.setEmulatedMedia", media="")
        printed = browser.pdf()
        assert printed.startswith(b"%PDF")
        pages_printed = max(int(count) for count in re.findall(rb"/Count (\d+)", printed))
        assert 1 <= pages_printed <= 20
