"""One file runs with the kernels and without: in If, in nested functions, inlined, and on several threads."""

from __future__ import annotations

import copy
import logging
import threading
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
import onnxruntime as ort
import pytest
from block_sparse_cases import ConvCase, MatMulCase, kernel_library, model_of, session_of
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxprune import kernels
from onnxprune.core.errors import ModelError, UsageError
from onnxprune.kernels import Activation, Window, attach, functions

MATMUL = MatMulCase(tiles=3, width=20, block=4, kept=3, inputs=30, lead=(6,), cut=3, act="Gelu")
CONV = ConvCase(tiles=2, width=32, block=4, kept=3, inputs=16, image=(9, 9), act="Clip", bias=False)
CASES = pytest.mark.parametrize("case", [MATMUL, CONV], ids=["matmul", "conv"])


def both(model: onnx.ModelProto, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the output with kernels and without."""
    with_kernels, without = (session_of(model, kernels=flag).run(None, {"x": x})[0] for flag in (True, False))
    return with_kernels, without


def used_operators(model: onnx.ModelProto, folder: Any, *, with_kernels: bool) -> set[str]:
    """Returns the operators of our domain that a session is left with."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    if with_kernels:
        assert kernels.register(options, strict=True, library=kernel_library())
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimized.onnx").graph.node
    return {node.op_type for node in nodes if node.domain == "onnxprune"}


@CASES
def test_kernels_run_where_the_library_is_and_bodies_elsewhere(case: Any, tmp_path: Any) -> None:
    model = model_of(case, case.arrays())
    assert used_operators(model, tmp_path, with_kernels=True) == {case.node().op_type}
    assert used_operators(model, tmp_path, with_kernels=False) == set()


@CASES
def test_checker_and_inliner_take_the_bodies(case: Any) -> None:
    arrays = case.arrays()
    model = model_of(case, arrays)
    onnx.checker.check_model(model, full_check=True)
    inlined = onnx.inliner.inline_local_functions(model)
    assert not inlined.functions
    onnx.checker.check_model(inlined, full_check=True)
    (found,) = session_of(inlined, kernels=False).run(None, {"x": arrays["x"]})
    np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=1e-5)


@CASES
def test_inside_an_if(case: Any) -> None:
    arrays = case.arrays()
    inner = model_of(case, arrays)
    weights = list(inner.graph.initializer)
    taken = helper.make_graph(list(inner.graph.node), "then", [], [helper.make_empty_tensor_value_info("y")])
    other = helper.make_graph(
        [helper.make_node("Identity", ["none"], ["n"])], "else", [], [helper.make_empty_tensor_value_info("n")]
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Equal", ["total", "total"], ["always"]),  # not known before it runs
        helper.make_node("If", ["always"], ["y"], then_branch=taken, else_branch=other),
    ]
    none = helper.make_tensor("none", TensorProto.FLOAT, [1], [0.0])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", list(inner.graph.input), [output], [*weights, none])
    model = helper.make_model(graph, ir_version=8, opset_imports=list(inner.opset_import))
    assert attach(model) == 1
    for found in both(model, arrays["x"]):
        np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=1e-5)


@CASES
def test_inside_a_function_of_a_function(case: Any) -> None:
    arrays = case.arrays()
    model = model_of(case, arrays)
    names = ["x", *(name for name in ("weight", "index", "bias") if name in arrays)]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("other", 1)]
    inner = helper.make_function("other", "Inner", names, ["y"], list(model.graph.node), opsets)
    call = helper.make_node("Inner", names, ["y"], domain="other")
    outer = helper.make_function("other", "Outer", names, ["y"], [call], opsets)
    del model.graph.node[:], model.functions[:]
    model.graph.node.append(helper.make_node("Outer", names, ["y"], domain="other"))
    model.functions.extend([outer, inner])
    model.opset_import.append(helper.make_opsetid("other", 1))
    assert attach(model) == 1
    for found in both(model, arrays["x"]):
        np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=1e-5)


def test_attach_replaces_and_drops_bodies() -> None:
    model = model_of(MATMUL, MATMUL.arrays())
    before = model.SerializeToString()
    assert attach(model) == 1
    assert model.SerializeToString() == before
    del model.graph.node[:]
    assert attach(model) == 0
    assert not model.functions


def test_attach_leaves_out_what_even_sizes_do_not_need() -> None:
    even = model_of(MatMulCase(tiles=2, width=16, block=4, kept=2, inputs=16), MatMulCase(2, 16, 4, 2, 16).arrays())
    (body,) = even.functions
    assert {"Pad", "Slice"} & {node.op_type for node in body.node} == {"Slice"}  # of shapes
    (body,) = model_of(MATMUL, MATMUL.arrays()).functions
    assert "Pad" in {node.op_type for node in body.node}


def test_attach_names_what_is_missing() -> None:
    model = model_of(MATMUL, MATMUL.arrays(), bodies=False)
    broken = copy.deepcopy(model)
    del broken.graph.node[0].attribute[:]
    with pytest.raises(ModelError, match="lacks the attribute"):
        attach(broken)
    broken = copy.deepcopy(model)
    del broken.graph.node[0].input[3]
    with pytest.raises(ModelError, match="has no bias"):
        attach(broken)
    broken = copy.deepcopy(model)
    broken.graph.node[0].op_type = "BlockSparseMatMulMish"
    with pytest.raises(ModelError, match="is no operator"):
        attach(broken)
    model.opset_import[0].version = 12
    with pytest.raises(UsageError, match="opset 13 or newer"):
        attach(model)


def test_every_operator_has_a_body() -> None:
    names = [function.name for function in functions(18)]
    assert len(names) == len(set(names)) == 22


@pytest.mark.parametrize(("name", "parameters"), [("Mish", {}), ("Clip", {"min": 0.0}), ("Relu", {"alpha": 1.0})])
def test_unknown_activations_are_refused(name: Any, parameters: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Activation(name, parameters)


def test_windows_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(UsageError, match="pads"):
        Window((3, 3), (1, 1))


@CASES
def test_shapes_are_inferred(case: Any, tmp_path: Any) -> None:
    model = model_of(case, case.arrays())
    # a consumer whose output shape is that of the operator
    model.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    (output,) = session_of(model, kernels=True).get_outputs()
    assert output.shape == (["d0", case.outputs] if case is MATMUL else ["batch", case.outputs, "s0", "s1"])


def test_strided_images_have_inferred_sizes() -> None:
    case = ConvCase(
        tiles=2, width=8, block=1, kept=2, inputs=4, image=(15, 8), window=Window((3, 3), (1, 0, 1, 1), (2, 2))
    )
    model = model_of(case, case.arrays())
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], case.image, strict=True):
        dim.dim_value = size
    (output,) = session_of(model, kernels=True).get_outputs()
    assert output.shape == ["batch", 16, 8, 4]


@CASES
@pytest.mark.parametrize("threads", [1, 2])
def test_four_callers_at_once(case: Any, threads: int) -> None:
    arrays = case.arrays()
    session = session_of(model_of(case, arrays), kernels=True, threads=threads)
    failures: list[str] = []

    def call(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(15):
            sizes = (
                (int(rng.integers(1, 40)), case.inputs)
                if case is MATMUL
                else (int(rng.integers(1, 4)), 16, *rng.integers(3, 12, 2))
            )
            x = rng.standard_normal(sizes).astype(np.float32)
            (found,) = session.run(None, {"x": x})
            worst = np.abs(found - case.expected(arrays | {"x": x})).max()
            if not worst < 1e-5:
                failures.append(f"seed {seed}: {worst} off for {sizes}")

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert failures == []


def test_sessions_may_come_and_go() -> None:
    arrays = CONV.arrays()
    model = model_of(CONV, arrays)
    sessions = [session_of(model, kernels=True) for _ in range(3)]
    for _ in range(3):
        sessions.pop()
        sessions.insert(0, session_of(model, kernels=True))
        (found,) = sessions[0].run(None, {"x": arrays["x"]})
        np.testing.assert_allclose(found, CONV.expected(arrays), rtol=0, atol=1e-5)


def test_register_says_why_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = ort.SessionOptions()
    missing = tmp_path / "none.so"
    with caplog.at_level(logging.INFO, logger="onnxprune"):  # the command line sets a level of its own
        assert not kernels.register(options, library=missing)
    assert "does not exist" in caplog.text
    with pytest.raises(kernels.KernelsMissing, match="does not exist"):
        kernels.register(options, library=missing, strict=True)
