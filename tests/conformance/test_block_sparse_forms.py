"""Every form of a tiled layer gives what the dense layer gives, wherever the layer stands.

With the library of kernels and without, inside an If, in functions of functions, after onnx's inliner, in every
element type that onnxruntime has kernels for, and in every opset that has the bodies.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime as ort
import pytest
from block_sparse_cases import kernel_library, session_of
from form_cases import OPERATORS, dense_model, expected, layer_of
from onnx import TensorProto, helper

from onnxprune.core.tiling import FORMS, Form
from onnxprune.kernels import attach
from onnxprune.kernels.rewrite import form_obstacle, write_forms
from onnxprune.runtime.errors import ORT_ERRORS

# the inputs and outputs of float16 carry 11 bits
TOLERANCES = {"float32": 1e-5, "float16": 5e-3, "float64": 1e-5}
PLACES = ("plain", "branch", "functions", "inlined")


def placed(model: onnx.ModelProto, place: str) -> onnx.ModelProto:
    """Returns the model with its nodes elsewhere."""
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    if place == "inlined":
        return onnx.inliner.inline_local_functions(moved)
    nodes, graph = list(moved.graph.node), moved.graph
    del graph.node[:], moved.functions[:]
    if place == "plain":
        graph.node.extend(nodes)
    elif place == "branch":
        taken = helper.make_graph(nodes, "then", [], [helper.make_empty_tensor_value_info("y")])
        other = helper.make_graph(
            [helper.make_node("Neg", ["x"], ["n"])], "else", [], [helper.make_empty_tensor_value_info("n")]
        )
        graph.node.extend(
            [
                helper.make_node("Size", ["x"], ["size"]),
                helper.make_node("Greater", ["size", "none"], ["always"]),
                helper.make_node("If", ["always"], ["y"], then_branch=taken, else_branch=other),
            ]
        )
        graph.initializer.append(helper.make_tensor("none", TensorProto.INT64, [], [0]))
    else:
        names, opsets = ["x", *(t.name for t in graph.initializer)], [moved.opset_import[0]]
        inner = helper.make_function("other", "Inner", names, ["y"], nodes, opsets)
        call = helper.make_node("Inner", names, ["y"], domain="other")
        opsets = [moved.opset_import[0], helper.make_opsetid("other", 1)]
        moved.functions.extend([helper.make_function("other", "Outer", names, ["y"], [call], opsets), inner])
        graph.node.append(helper.make_node("Outer", names, ["y"], domain="other"))
        moved.opset_import.append(helper.make_opsetid("other", 1))
    attach(moved)
    return moved


def runs(model: onnx.ModelProto) -> bool:
    """Returns whether onnxruntime has the kernels for a model."""
    try:
        session_of(model, kernels=False)
    except ORT_ERRORS:
        return False
    return True


@pytest.mark.parametrize("kernels", [True, False], ids=["library", "no library"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_the_dense_layer_gives(
    form: Form, operator: str, dtype: str, place: str, kernels: bool
) -> None:
    model, x = dense_model(operator, dtype)
    if not runs(model) and not (form == "kernel" and kernels and place != "inlined"):
        pytest.skip(f"onnxruntime has no {operator} of {dtype}")
    layer = layer_of(operator)
    assert form_obstacle(model, layer, form) == ""
    written = placed(write_forms(model, [(layer, form)]), place)
    onnx.checker.check_model(written)
    (found,) = session_of(written, kernels=kernels).run(None, {"x": x})
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_allclose(found, expected(model, x), rtol=0, atol=TOLERANCES[dtype])


@pytest.mark.parametrize(
    "opset", [pytest.param(n, marks=() if n in (13, 14, 18, 23) else pytest.mark.slow) for n in range(13, 24)]
)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_in_every_opset(form: Form, operator: str, opset: int) -> None:
    model, x = dense_model(operator, "float32", opset)
    written = write_forms(model, [(layer_of(operator), form)])
    onnx.checker.check_model(written, full_check=True)
    for kernels in (True, False):
        (found,) = session_of(written, kernels=kernels).run(None, {"x": x})
        np.testing.assert_allclose(found, expected(model, x), rtol=0, atol=1e-5)


def optimised(model: onnx.ModelProto, path: Path, *, library: bool) -> Counter[tuple[str, str]]:
    """Returns the operators that onnxruntime is left with."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path)
    if library:
        options.register_custom_ops_library(str(kernel_library()))
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter((node.domain, node.op_type) for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("opset", [13, 14, 15, 18, 21, 23])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_what_expands_a_weight_is_folded_when_a_session_loads_it(
    operator: str, dtype: str, opset: int, tmp_path: Path
) -> None:
    model, _ = dense_model(operator, dtype, opset)
    if not runs(model):
        pytest.skip(f"onnxruntime has no {operator} of {dtype}")
    written = write_forms(model, [(layer_of(operator), "densify")])
    for library in (True, False):
        left = optimised(written, tmp_path / "written.onnx", library=library)
        dense = optimised(model, tmp_path / "dense.onnx", library=library)
        # of float16 there may be less: a computed weight is cast once, with what computes it
        assert not left - dense
        assert set(left) == set(dense)
    weights = [tensor for tensor in onnx.load(tmp_path / "written.onnx").graph.initializer if len(tensor.dims) > 1]
    assert len(weights) == 1


@pytest.mark.parametrize("operator", OPERATORS)
def test_only_the_kernel_form_is_computed_by_the_library(operator: str, tmp_path: Path) -> None:
    model, _ = dense_model(operator, "float32")
    for form in FORMS:
        left = optimised(write_forms(model, [(layer_of(operator), form)]), tmp_path / "optimised.onnx", library=True)
        assert any(domain.startswith("onnxprune") for domain, _ in left) == (form == "kernel")
