"""Reasons that repeat are said once."""

from __future__ import annotations

import pytest

from onnxprune.report.reasons import condensed


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ((), ""),
        (("output 'y' of the model",), "output 'y' of the model"),
        (("LayerNormalization 'a' takes statistics",), "LayerNormalization 'a' takes statistics"),
        (
            (
                "Norm 'a' takes statistics",
                "Gather 'g' looks up",
                "Norm 'b' takes statistics",
                "Norm 'c' takes statistics",
            ),
            "Norm 'a' and 2 more: takes statistics; Gather 'g' looks up",
        ),
        (("Conv 'a': is a spatial axis", "Conv 'b': is a spatial axis"), "Conv 'a' and 1 more: is a spatial axis"),
        (("no name at all", "no name at all"), "no name at all"),
    ],
)
def test_reasons_that_differ_in_the_node_only_are_joined(reasons: tuple[str, ...], expected: str) -> None:
    assert condensed(reasons) == expected
