"""Random reports, valid by the schema and nothing else: each is shown, well formed, and without a word of Python's."""

from __future__ import annotations

import random
import re
import types
import typing
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from onnxprune.report.comparison import Run, compare_runs
from onnxprune.report.comparison_markdown import comparison_markdown
from onnxprune.report.markdown import report_markdown
from onnxprune.report.page.comparison_page import comparison_html
from onnxprune.report.page.run_page import report_html
from onnxprune.report.schema import Curve, Report

T = TypeVar("T", bound=BaseModel)
EMPTY = {"br", "col", "hr", "input", "link", "meta"}
WORDS = (
    "",
    "conv1",
    "/a/b.c/d",
    "</script><script>",
    "<b>&amp;",
    "`|*_~",
    "\x00\x1b\n",
    "\u202e☃\U0001f600",
    "x" * 300,
)
FIGURES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.4,
    1e-300,
    1e15,
    -1e15,
    5e-324,
    123456.789,
    float("nan"),
    float("inf"),
    -float("inf"),
)
COUNTS = (0, 1, 2, 3, 64, 1000, 10**7, -1)


def value_of(kind: Any, rng: random.Random) -> Any:
    """Returns a value of a type of the schema; figures may be no numbers, which the schema turns to null."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return value_of(arguments[0], rng)
    if origin in (typing.Union, types.UnionType):
        if float in arguments:
            return rng.choice((None, rng.choice(FIGURES), rng.uniform(0, 2), rng.uniform(-1e4, 1e4)))
        return value_of(rng.choice(arguments), rng)
    if origin is typing.Literal:
        return rng.choice(arguments)
    if origin is tuple:
        return tuple(value_of(arguments[0], rng) for _ in range(rng.choice((0, 1, 2, 3, 19))))
    if origin is dict:
        return {rng.choice(WORDS): value_of(arguments[1], rng) for _ in range(rng.randrange(4))}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return record(kind, rng)
    makers: dict[Any, Callable[[], Any]] = {
        type(None): lambda: None,
        str: lambda: rng.choice(WORDS),
        int: lambda: rng.choice(COUNTS),
        float: lambda: rng.choice([figure for figure in FIGURES if abs(figure) < 1e16]),
        bool: lambda: rng.random() < 0.5,
    }
    return makers.get(kind, lambda: rng.choice((None, True, 3, 1e300, 0.5, "a<b", ["x", None], {"k": 1})))()


def record(kind: type[T], rng: random.Random) -> T:
    """Returns a record of the schema; parts that may be left out are, now and then."""
    fields = {
        # the types of fields hold the rules that make null of what is no number
        name: value_of(info.annotation, rng)
        for name, info in kind.model_fields.items()
        if info.is_required() or rng.random() < 0.85
    }
    return kind.model_validate(fields)


class Checker(HTMLParser):
    """Checks that every element closes in order; gathers text and what screen readers hear."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.said += [value or "" for name, value in attrs if name != "content"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.said.append(data)


def check(page: str, text: str) -> None:
    said = " ".join(Checker(page).said)
    for shown in (said, text):
        found = re.search(r".{0,60}(\bNone\b|\b[Nn]a[Nn]\b|\binf\b|\bTrue\b|\bFalse\b)", shown)
        assert found is None, found
    assert page.count("<script>") == 1


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 4))])
def test_every_valid_report_is_shown(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        report = record(Report, random.Random(seed))
        try:
            check(report_html(report), report_markdown(report))
            assert Report.model_validate_json(report.to_json()).to_json() == report.to_json()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_every_valid_curve_is_compared() -> None:
    for seed in range(40):
        curve = record(Curve, random.Random(seed))
        try:
            compared = compare_runs([Run.from_point(point) for point in curve.points])
            check(comparison_html(compared), comparison_markdown(compared))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
