"""Training a model as it is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bridging import convnet, images, labelled
from click.testing import CliRunner
from graphs import model_of

import onnxprune
from onnxprune.cli.main import cli
from onnxprune.core.errors import DataError, ModelError, UsageError


def _damaged():
    """The net with noise on its weights: something to repair."""
    proto = onnx.ModelProto.FromString(convnet().SerializeToString())
    rng = np.random.default_rng(5)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            value = onnx.numpy_helper.to_array(tensor)
            noise = 0.5 * value.std() * rng.standard_normal(value.shape)
            tensor.CopyFrom(onnx.numpy_helper.from_array((value + noise).astype(np.float32), tensor.name))
    return proto


def test_retraining_brings_a_model_back_to_its_teacher(tmp_path):
    before = onnxprune.validate(convnet(), _damaged()).parity.outputs[0].max_rel
    result = onnxprune.retrain(_damaged(), convnet(), data={"x": images(320)}, epochs=4, batch_size=32)
    assert result.report["parity"]["outputs"][0]["max_rel"] < 0.6 * before
    before, after = ({i.name for i in m.graph.initializer} for m in (_damaged(), result.model))
    assert before <= after
    assert after - before == {"c__bias", "h__bias"}, "what folding the lent normalisation leaves"
    assert [e["epoch"] for e in result.report["training"]["epochs"]] == [1, 2, 3, 4]


def test_labels_alone_are_enough():
    result = onnxprune.retrain(_damaged(), data=labelled(320), epochs=1, batch_size=32)
    assert result.report["training"]["samples"] == 320


def test_neither_teacher_nor_labels_is_an_error():
    with pytest.raises(UsageError, match="nothing to learn from: give --teacher, or data with labels"):
        onnxprune.retrain(_damaged(), data={"x": images(320)}, epochs=1)


def test_teacher_of_another_interface_is_refused():
    other = convnet()
    other.graph.input[0].name = "pixels"
    for node in other.graph.node:
        for i, name in enumerate(node.input):
            if name == "x":
                node.input[i] = "pixels"
    data = {"pixels": images(320)}
    with pytest.raises(ModelError, match="different inputs"):
        onnxprune.retrain(_damaged(), other, data=data, epochs=1)


def test_command_writes_model_and_report(tmp_path):
    onnx.save(_damaged(), tmp_path / "slim.onnx")
    onnx.save(convnet(), tmp_path / "teacher.onnx")
    np.savez(tmp_path / "train.npz", x=images(320))
    words = ["retrain", str(tmp_path / "slim.onnx"), "--teacher", str(tmp_path / "teacher.onnx")]
    words += ["--data", str(tmp_path / "train.npz"), "--epochs", "1", "-o", str(tmp_path / "out.onnx")]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 0, found.stderr
    names = sorted(p.name for p in tmp_path.iterdir())
    pages = ["out.report.html", "out.report.json", "out.report.md"]
    assert names == ["out.onnx", *pages, "slim.onnx", "teacher.onnx", "train.npz"]


def test_command_without_data_is_a_usage_error(tmp_path):
    onnx.save(_damaged(), tmp_path / "slim.onnx")
    found = CliRunner().invoke(cli, ["retrain", str(tmp_path / "slim.onnx")])
    assert found.exit_code == 2
    assert "nothing to train on. Give --data" in found.stderr


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
def test_16_bit_model_is_trained_in_float32_and_comes_back(kind):
    narrow = _narrowed(_damaged(), kind)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    data = {"x": images(320).astype(dtype)}
    result = onnxprune.retrain(narrow, _narrowed(convnet(), kind), data=data, epochs=1, batch_size=32)
    assert {i.data_type for i in result.model.graph.initializer} == {kind}
    assert any("trained in float32" in note for note in result.report["notes"])
    changed = dict(zip("ab", (narrow, result.model), strict=True))
    first = {k: next(i for i in m.graph.initializer if i.name == "w1").raw_data for k, m in changed.items()}
    assert first["a"] != first["b"]


def _narrowed(proto, kind):
    """The net with every float in 16 bits."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in copy.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = kind
    return copy


def test_labels_that_fit_nothing_are_an_error_without_a_teacher():
    proto = model_of(
        """g (float[N,3,8,8] x, float[8,3,3,3] w, float[8] b) => (float[N,8,8,8] r) {
          a = Conv<pads=[1,1,1,1]>(x, w, b)
          r = Relu(a)
        }"""
    )
    with pytest.raises(DataError, match=r"by labels alone.*fit none of the outputs r\. Give a teacher"):
        onnxprune.retrain(proto, data=labelled(32), epochs=1)
