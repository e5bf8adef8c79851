from __future__ import annotations

import pytest

from onnxprune.allocate.alignment import alignment_unit, finer, honoured, parse_align
from onnxprune.core.errors import UsageError
from onnxprune.core.group import Group


@pytest.mark.parametrize(
    ("size", "multiple", "align", "unit"),
    [
        (64, 1, "auto", 8),
        (16, 1, "auto", 8),
        (15, 1, "auto", 1),
        (12, 64, "auto", 1),
        (8, 4, "auto", 2),
        (3, 4, "auto", 1),
        (16, 12, "auto", 2),
        (6, 3, "auto", 1),
        (64, 1, 1, 1),
        (64, 1, 32, 32),
        (63, 1, 32, 1),
        (64, 16, 32, 2),
        (30, 1, 12, 12),
    ],
)
def test_unit_counts_physical_channels_when_the_group_holds_two_of_them(size, multiple, align, unit):
    assert alignment_unit(Group("g", size, (), multiple), align) == unit


def test_unit_gives_way_by_halves_when_it_is_even():
    assert [finer(u) for u in (12, 8, 4, 3, 2, 1)] == [6, 4, 2, 1, 1, 1]


@pytest.mark.parametrize(("kept", "unit"), [(16, 8), (20, 8), (12, 4), (10, 2), (7, 1)])
def test_honoured_unit_is_the_coarsest_that_divides_the_count(kept, unit):
    assert honoured(kept, 20, 8) == unit


def test_alignment_parses_when_it_is_auto_or_a_whole_number():
    assert [parse_align(text) for text in ("auto", "8", 1, "16")] == ["auto", 8, 1, 16]


@pytest.mark.parametrize("text", ["0", "-8", "eight", "1.5", ""])
def test_alignment_is_refused_when_it_is_no_count(text):
    with pytest.raises(UsageError, match="give 'auto', a multiple such as 8"):
        parse_align(text)
