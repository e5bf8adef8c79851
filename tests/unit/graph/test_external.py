"""External data: read lazily, and never from outside the model's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.core.errors import ModelError
from onnxprune.graph import Model, load_model
from onnxprune.graph.values import ExternalValues

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def write(folder: Path, *, values: np.ndarray = WEIGHT, before: int = 0, **entries: str) -> Path:
    """Writes a model whose weight 'w' lies in weights.bin, `before` bytes in; entries override."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(b"\xff" * before + values.tobytes())
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = TensorProto(name="w", data_type=kind, dims=values.shape, data_location=TensorProto.EXTERNAL)
    given = {"location": "weights.bin", "offset": str(before), "length": str(values.nbytes)} | entries
    for key, value in given.items():
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, ["n", 4])],
        [tensor],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refused(path: Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in ("'w'", *words):
        assert word in message


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
def test_values_are_read_from_the_data_file(tmp_path: Path, dtype: type) -> None:
    model = load_model(write(tmp_path, values=WEIGHT.astype(dtype), before=100))
    assert model.external_data
    assert model.data_files == (tmp_path / "weights.bin",)
    np.testing.assert_array_equal(model.read("w"), WEIGHT.astype(dtype))
    model.read("w")[:] = 0
    np.testing.assert_array_equal(model.read("w"), WEIGHT.astype(dtype))
    assert numpy_helper.to_array(model.to_proto().graph.initializer[0]).tolist() == WEIGHT.tolist()


def test_reading_leaves_the_values_where_they_are(tmp_path: Path) -> None:
    model = load_model(write(tmp_path))
    copy = model.copy()
    model.read("w")
    for each in (model, copy):
        assert isinstance(each.initializers()["w"]._values, ExternalValues)


def test_offset_and_length_may_be_missing(tmp_path: Path) -> None:
    path = write(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    del proto.graph.initializer[0].external_data[1:]
    path.write_bytes(proto.SerializeToString())
    np.testing.assert_array_equal(load_model(path).read("w"), WEIGHT)


def test_an_empty_tensor_needs_no_bytes(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, values=np.zeros((3, 0), np.float32)))
    assert model.read("w").shape == (3, 0)


def test_a_data_file_in_a_folder_below_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path, location="below/data.bin")
    (tmp_path / "below").mkdir()
    (tmp_path / "weights.bin").rename(tmp_path / "below" / "data.bin")
    np.testing.assert_array_equal(load_model(path).read("w"), WEIGHT)


def test_a_link_inside_the_folder_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path, location="link.bin")
    (tmp_path / "link.bin").symlink_to("weights.bin")
    np.testing.assert_array_equal(load_model(path).read("w"), WEIGHT)


def test_the_model_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real")
    (tmp_path / "alias").symlink_to("real", target_is_directory=True)
    np.testing.assert_array_equal(load_model(tmp_path / "alias" / "model.onnx").read("w"), WEIGHT)


def test_a_relative_model_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    model = load_model("model.onnx")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(model.read("w"), WEIGHT)


def test_refuses_an_absolute_path_even_into_the_folder(tmp_path: Path) -> None:
    refused(write(tmp_path, location="/etc/passwd"), "absolute", "/etc/passwd")
    refused(write(tmp_path, location=str(tmp_path / "weights.bin")), "absolute")
    refused(write(tmp_path, location="C:\\weights.bin"), "absolute")


@pytest.mark.parametrize("location", ["../weights.bin", "a/../../weights.bin", "./../x", "..\\weights.bin", ".."])
def test_refuses_a_path_with_dots(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    refused(write(tmp_path / "model", location=location), "'..'")


@pytest.mark.parametrize(
    "link",
    [
        lambda outside, inside: (inside / "l").symlink_to(outside / "data.bin"),
        lambda o, i: (i / "l").symlink_to("../outside/data.bin"),
    ],
)
def test_refuses_a_link_to_a_file_outside(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "data.bin").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "inside", location="l")
    link(tmp_path / "outside", tmp_path / "inside")
    refused(path, "a link to")


def test_refuses_a_link_to_a_folder_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "data.bin").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "inside", location="sub/data.bin")
    (tmp_path / "inside" / "sub").symlink_to(tmp_path / "outside")
    refused(path, "a link to")


def test_refuses_a_folder_whose_name_only_begins_the_same(tmp_path: Path) -> None:
    (tmp_path / "model2").mkdir()
    (tmp_path / "model2" / "data.bin").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "model", location="l")
    (tmp_path / "model" / "l").symlink_to(tmp_path / "model2" / "data.bin")
    refused(path, "a link to")


def test_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    path = write(tmp_path, location="pipe")
    os.mkfifo(tmp_path / "pipe")
    refused(path, "not a regular file")
    (tmp_path / "pipe").unlink()
    (tmp_path / "pipe").mkdir()
    refused(path, "not a regular file")
    (tmp_path / "pipe").rmdir()
    (tmp_path / "pipe").symlink_to("pipe")
    refused(path, "cannot be read")
    (tmp_path / "pipe").unlink()
    (tmp_path / "pipe").symlink_to("/dev/zero")
    refused(path, "a link to")


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "weights.bin").unlink()
    refused(path, "weights.bin", "beside the model")


def test_refuses_a_file_that_is_too_short(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 40)
    refused(path, "0 to 48", "only 40")


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-4"},
        {"offset": "1e3"},
        {"offset": "x"},
        {"length": "-48"},
        {"length": "9" * 5000},
        {"length": "²"},
        {"location": ""},
    ],
    ids=lambda entries: str(entries)[:20],
)
def test_refuses_nonsense(tmp_path: Path, entries: dict[str, str]) -> None:
    refused(write(tmp_path, **entries))


def test_refuses_a_length_that_does_not_fit_the_shape(tmp_path: Path) -> None:
    refused(write(tmp_path, length="44"), "48 bytes", "44 bytes")
    refused(write(tmp_path, offset="4"), "4 to 52", "only 48")
    refused(write(tmp_path, offset=str(2**70)))


def test_refuses_a_proto_in_memory(tmp_path: Path) -> None:
    proto = onnx.load(write(tmp_path), load_external_data=False)
    with pytest.raises(ModelError, match="no folder"):
        load_model(proto)
    np.testing.assert_array_equal(load_model(onnx.load(write(tmp_path))).read("w"), WEIGHT)


@pytest.mark.parametrize("use", [lambda m: m.read("w"), lambda m: m.to_proto()])
def test_a_file_that_shrinks_later_is_an_error(tmp_path: Path, use: Callable[[Model], object]) -> None:
    model = load_model(write(tmp_path))
    (tmp_path / "weights.bin").write_bytes(b"\0" * 40)
    with pytest.raises(ModelError, match="changed after the model was loaded"):
        use(model)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match="changed after the model was loaded"):
        use(model)


def test_refuses_strings_in_a_data_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].data_type = TensorProto.STRING
    path.write_bytes(proto.SerializeToString())
    refused(path, "strings")
