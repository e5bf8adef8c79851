"""Elements, numbers, axes and squares of the pages."""

from __future__ import annotations

import math

import pytest

from onnxprune.report.page import numbers
from onnxprune.report.page.heat_map import merged, squares
from onnxprune.report.page.line_chart import Line, Mark, line_chart
from onnxprune.report.page.markup import Markup, attribute, join, tag
from onnxprune.report.page.scale import fitting, powers, steps


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("td", "<b>&", tag("i", "x"), class_="n") == '<td class="n">&lt;b&gt;&amp;<i>x</i></td>'


def test_attributes_are_escaped_and_named_as_in_html() -> None:
    assert tag("svg", aria_label='a"<b', viewBox="0 0 1 1") == '<svg aria-label="a&quot;&lt;b" viewBox="0 0 1 1"></svg>'
    assert tag("input", hidden=True, disabled=False, name=None) == "<input hidden>"


def test_characters_that_html_cannot_hold_are_replaced() -> None:
    assert (
        tag("p", "a\x00b\x1bc\ud800d")
        == "<p>a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}d</p>"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_attribute_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        attribute(value)


def test_join_escapes_what_stands_between() -> None:
    assert join(["a<", None, Markup("<br>")], " & ") == "a&lt; &amp; <br>"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.count(40.8e6), "40.8 M"),
        (numbers.time_us(104.4), "104 µs"),
        (numbers.seconds(0.085), "85 ms"),
        (numbers.seconds(200), "3 min 20 s"),
        (numbers.seconds(7500), "2 h 5 min"),
        (numbers.points(0.998, 0.994), "−0.4 points"),
        (numbers.points(0.5, 0.50001), "±0 points"),
        (numbers.points(None, 0.5), "–"),
        (numbers.gain(0.5, 0.75), "+0.25"),
        (numbers.ratio(4, 10), "×0.40"),
        (numbers.ratio(4, 0), "–"),
        (numbers.plain(-0.051234, 3), "−0.0512"),
        (numbers.percent(None), "–"),
    ],
)
def test_numbers_read_well_and_never_break(shown: str, expected: str) -> None:
    assert " " not in shown
    assert shown == expected.replace(" ", numbers.NBSP)


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [0.98, 1.02], [-3.0, 1e9], [1e-9, 2e-9], [1e18, -1e18], [0.1 + 0.2, 0.3], []]
)
@pytest.mark.parametrize("zero", [True, False])
def test_axis_holds_its_values_between_few_round_ticks(values: list[float], *, zero: bool) -> None:
    axis = fitting(values, 10.0, 110.0, zero=zero)
    assert 2 <= len(axis.ticks) <= 9
    # ends are round numbers, so that a value may lie beyond them by what rounding leaves
    slack = 1e-12 * max(map(abs, values), default=1.0)
    assert axis.low <= min(values, default=0.0) + slack
    assert max(values, default=1.0) <= axis.high + slack
    assert all(10.0 <= axis.place(value) <= 110.0 for value in (*values, *axis.ticks))
    assert len(set(axis.names())) == len(axis.ticks)
    if zero and values and min(values) >= 0:
        assert axis.low == 0.0


def test_axis_of_steps_marks_both_ends() -> None:
    axis = steps(1, 49, 0.0, 100.0)
    assert (axis.ticks[0], axis.ticks[-1]) == (1.0, 49.0)
    assert (axis.place(1), axis.place(49)) == (0.0, 100.0)
    assert steps(3, 3, 0.0, 100.0).place(3) == 50.0


def test_axis_of_powers_gives_equal_ratios_equal_room() -> None:
    axis = powers([1, 4, 16], 0.0, 100.0)
    assert [round(axis.place(v)) for v in (1, 4, 16)] == [0, 50, 100]
    assert axis.names() == ("1", "4", "16")


def test_line_has_a_gap_where_a_value_is_missing_and_says_what_it_shows() -> None:
    points = ((1.0, 2.0), (2.0, None), (3.0, 1.0), (4.0, 0.5))
    drawn = line_chart("Loss", [Line("loss", points)], x_name="epoch", y_name="mean", marks=[Mark(1.5, "limit")])
    assert drawn is not None
    (path,) = (part for part in drawn.split("<path")[1:] if "stroke s0" in part)
    assert (path.count("M"), path.count("L")) == (2, 1)
    assert 'aria-label="Loss, mean over epoch. loss: 2 at 1, 0.5 at 4. limit at 1.5."' in drawn


def test_line_chart_without_a_value_is_not_drawn() -> None:
    assert line_chart("Loss", [Line("loss", ((1.0, None),))], x_name="epoch", y_name="mean") is None


def test_squares_of_one_shade_are_one_path() -> None:
    drawn = squares([[1.0, 1.0, 0.0], [0.5, 1.0, 1.0]], 0.0, 0.0, 30.0, 20.0)
    assert [part.count("M") for part in drawn] == [1, 2]
    assert 'fill-opacity="0.5"' in drawn[0]
    assert "M0.0 0.0h20.00v10.00h-20.00z" in drawn[1]


def test_large_grids_become_means() -> None:
    grid = [[float(column % 2) for column in range(100)] for _ in range(130)]
    shown = merged(grid, 64, 50)
    assert (len(shown), len(shown[0])) == (44, 50)
    assert all(value == 0.5 for row in shown for value in row)
    assert merged([[1.0]], 64, 64) == [[1.0]]
