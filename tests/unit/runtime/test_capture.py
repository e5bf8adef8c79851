"""Shapes and values of one concrete run, against onnx's reference evaluator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.core.errors import DataError, ModelError
from onnxprune.runtime.capture import capture


def parse(body: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {body}')


def network() -> onnx.ModelProto:
    model = parse(
        """(float[b, 3, h, w] x) => (float[b, n] y) {
            c = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, k, bias)
            r = Relu(c)
            s = Shape(r)
            zero = Constant<value_int = 0>()
            n = Gather(s, zero)
            axes = Constant<value_ints = [0]>()
            n1 = Unsqueeze(n, axes)
            rest = Constant<value_ints = [-1]>()
            target = Concat<axis = 0>(n1, rest)
            y = Reshape(r, target)
        }"""
    )
    rng = np.random.default_rng(0)
    for name, shape in (("k", (4, 3, 3, 3)), ("bias", (4,))):
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return model


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [name for node in model.graph.node for name in node.output]
    all_outputs = onnx.ModelProto()
    all_outputs.CopyFrom(model)
    del all_outputs.graph.output[:]
    all_outputs.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return dict(zip(names, ReferenceEvaluator(all_outputs).run(names, feeds), strict=True))


def test_shapes_dtypes_and_values_are_those_of_the_reference() -> None:
    model = network()
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 9, 7)).astype(np.float32)}
    found = capture(model, feeds)
    expected = reference(model, feeds)
    for name, value in expected.items():
        assert found.shapes[name] == np.shape(value), name
        assert found.dtypes[name] == np.asarray(value).dtype, name
    assert found.shapes["c"] == (2, 4, 5, 4)
    assert found.values["target"].tolist() == [2, -1]
    assert found.values["n"].shape == ()
    assert set(expected) | {"x", "k", "bias"} == set(found.shapes)


def test_only_small_values_are_kept() -> None:
    model = parse(
        """(float[n] x, int64[n] i) => (float[n] y, int64[n] j, bool[n] p) {
            y = Neg(x) j = Abs(i) p = Not(q) q = Less(x, y) total = ReduceSum<keepdims = 0>(x)
        }"""
    )
    model.graph.node.sort(key=lambda node: "p" in node.output)  # the text above has p before q
    for n, kept in ((8, {"y", "x"}), (9, set()), (4095, set()), (4096, None)):
        found = capture(model, {"x": np.ones(n, np.float32), "i": np.ones(n, np.int64)})
        integers = set() if kept is None else {"i", "j", "p", "q"}
        assert set(found.values) == (kept or set()) | integers | {"total"}, n


def test_values_are_read_only() -> None:
    found = capture(network(), {"x": np.zeros((1, 3, 4, 4), np.float32)})
    with pytest.raises(ValueError, match="read-only"):
        found.values["target"][0] = 1


def test_sequences_and_missing_outputs_are_left_out() -> None:
    model = parse(
        """(float[n, 2] x) => (float[n, 2] y) {
            s = SequenceConstruct(x, x)
            i = Constant<value_int = 1>()
            e = SequenceAt(s, i)
            y, mask = Dropout(e)
        }"""
    )
    model.graph.node[-1].output[1] = ""
    found = capture(model, {"x": np.ones((3, 2), np.float32)})
    assert set(found.shapes) == {"x", "i", "e", "y"}
    assert found.shapes["e"] == (3, 2)


def test_bfloat16_tensors_have_shape_and_dtype() -> None:
    model = parse("(float[n] x) => (float[n] y) { a = Cast<to = 16>(x) y = Cast<to = 1>(a) }")
    found = capture(model, {"x": np.array([1.5, 2.0], np.float32)})
    assert found.dtypes["a"].name == "bfloat16"
    np.testing.assert_array_equal(found.values["a"].astype(np.float32), [1.5, 2.0])


def chain(length: int) -> onnx.ModelProto:
    body = " ".join(f"t{i} = Add(t{i - 1}, one)" for i in range(1, length))
    return parse(
        f"(float[n] x) => (float[n] y) {{ one = Constant<value_float = 1.0>() t0 = Relu(x) {body} "
        f"y = Neg(t{length - 1}) }}"
    )


@pytest.mark.parametrize("limit", [1, 2**30])
def test_portions_change_nothing(limit: int) -> None:
    found = capture(chain(200), {"x": np.zeros(2, np.float32)}, activation_bytes=limit)
    assert len(found.shapes) == 203
    assert all(found.values[f"t{i}"].tolist() == [i, i] for i in range(200))


def test_external_data_is_read_from_the_folder(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.bin", size_threshold=0)
    feeds = {"x": np.ones((1, 3, 4, 4), np.float32)}
    expected = capture(network(), feeds)
    for found in (
        capture(path, feeds),
        capture(onnx.load(path, load_external_data=False), feeds, folder=tmp_path),
    ):
        assert found.shapes == expected.shapes
        np.testing.assert_array_equal(found.values["bias"], expected.values["bias"])


def test_the_model_stays_as_it_is() -> None:
    model = network()
    before = model.SerializeToString()
    capture(model, {"x": np.ones((1, 3, 4, 4), np.float32)})
    assert model.SerializeToString() == before


def test_feeds_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="expects"):
        capture(network(), {"x": np.ones((1, 2, 4, 4), np.float32)})


def test_failing_run_is_a_model_error() -> None:
    model = parse("(float[n] x) => (float[m] y) { s = Constant<value_ints = [7]>() y = Reshape(x, s) }")
    with pytest.raises(ModelError, match="cannot run the model to see its shapes"):
        capture(model, {"x": np.ones(3, np.float32)})
