from __future__ import annotations

import pytest

from onnxprune.axes import Poly
from onnxprune.cost import reachable_range


def test_range_goes_from_one_channel_per_group_to_the_original():
    macs = Poly({(): 10.0, ("a", "b"): 2.0})
    found = reachable_range({"flops": macs, "params": Poly.variable("a")}, {"a": 5, "b": 9})
    assert (found["flops"].lowest, found["flops"].original) == (12.0, 100.0)
    assert found["flops"].lowest_share == pytest.approx(0.12)
    assert found["params"].lowest_share == pytest.approx(0.2)


def test_share_is_one_when_the_model_costs_nothing():
    assert reachable_range({"flops": Poly({})}, {})["flops"].lowest_share == 1.0
