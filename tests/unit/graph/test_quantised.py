"""Integers that stand for real numbers are weights, and are read as those."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxprune.cost import COSTS
from onnxprune.graph import is_weight, load_model, read_real
from onnxprune.runtime import make_session, run

RNG = np.random.default_rng(0)
WEIGHT = RNG.integers(-128, 128, (6, 4)).astype(np.int8)
CASES: dict[str, tuple[dict[str, int], NDArray[Any], NDArray[Any] | None]] = {
    "one scale": ({}, np.array(0.02, np.float32), None),
    "one scale and zero point": ({}, np.array(0.02, np.float32), np.array(5, np.int8)),
    "per row": ({"axis": 0}, RNG.uniform(0.01, 0.1, 6).astype(np.float32), np.zeros(6, np.int8)),
    "per column": ({"axis": -1}, RNG.uniform(0.01, 0.1, 4).astype(np.float32), RNG.integers(-3, 4, 4).astype(np.int8)),
    "per block": ({"axis": 0, "block_size": 4}, RNG.uniform(0.01, 0.1, (2, 4)).astype(np.float32), None),
}


def model_of(attributes: dict[str, int], scale: NDArray[Any], zero: NDArray[Any] | None) -> onnx.ModelProto:
    arrays = {"w": WEIGHT, "s": scale} | ({} if zero is None else {"z": zero})
    nodes = [
        helper.make_node("DequantizeLinear", list(arrays), ["d"], **attributes),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_values_are_what_the_runtime_multiplies_with(case: Any) -> None:
    proto = model_of(*case)
    found = run(make_session(proto, optimize=False), {"x": np.eye(6, dtype=np.float32)})["y"]
    assert read_real(load_model(proto), "w") == pytest.approx(found, rel=1e-6)


def test_integers_count_as_parameters_and_zero_points_do_not() -> None:
    model = load_model(model_of(*CASES["one scale and zero point"]))
    constants = model.initializers()
    assert {name for name, constant in constants.items() if is_weight(constant)} == {"w", "s"}
    assert COSTS.get("params")().recount(model, {}) == 25
    assert COSTS.get("size")().recount(model, {}) == 24 + 4
