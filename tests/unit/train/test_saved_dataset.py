"""Datasets that the `datasets` library saved: columns, splits, images, and what is not followed."""

from __future__ import annotations

import io
import json
import socket
import sys

import numpy as np
import pytest
from PIL import Image

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train import open_data
from onnxprune.train.sources import arrow_column

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()

FLOAT = np.dtype("float32")
X = (TensorSpec("x", FLOAT, ("n", 3)),)
TOKENS = (TensorSpec("ids", np.dtype("int64"), ("n", 4)), TensorSpec("mask", np.dtype("int64"), ("n", 4)))
RGB = (TensorSpec("input", FLOAT, ("n", 3, 8, 8)),)
LOGITS = (TensorSpec("logits", FLOAT, ("n", 3)),)


def _saved(folder, columns, features=None):
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features) if features else None)
    table.save_to_disk(folder)
    return folder


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _pixels(count):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def _pictures(folder, **changed):
    pixels = _pixels(5)
    rows = [{"bytes": _png(image), "path": None} for image in pixels]
    rows = [changed.get(f"row{index}", row) for index, row in enumerate(rows)]
    features = {"img": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["ant", "bee"])}
    table = datasets.Dataset.from_dict({"img": rows, "label": [0, 1, 0, 1, 1]}, features=datasets.Features(features))
    table.cast_column("img", datasets.Image()).save_to_disk(folder)
    return folder, pixels


def test_columns_named_as_inputs_become_arrays(tmp_path):
    rows = np.arange(20).reshape(5, 4)
    source = _saved(tmp_path, {"ids": rows.tolist(), "mask": np.ones_like(rows).tolist(), "label": [0, 1, 2, 0, 1]})
    data = open_data(source, TOKENS, outputs=LOGITS)
    batch = data.first(9)
    assert np.array_equal(batch.inputs["ids"], rows)
    assert batch.inputs["mask"].sum() == 20
    assert batch.labels.tolist() == [0, 1, 2, 0, 1]
    assert data.describe() == "Hugging Face dataset: 5 samples, labelled"


@pytest.mark.parametrize(
    "feature",
    [
        lambda: datasets.Sequence(datasets.Value("float32")),
        lambda: datasets.Sequence(datasets.Value("float64"), length=3),
        lambda: datasets.Sequence(datasets.Value("int16")),
    ],
    ids=["list", "fixed list", "integers"],
)
def test_lists_of_numbers_become_an_axis(tmp_path, feature):
    values = np.arange(6.0).reshape(2, 3)
    data = open_data(_saved(tmp_path, {"x": values.tolist()}, {"x": feature()}), X)
    assert np.array_equal(data.first(2).inputs["x"], values)


def test_array_features_become_arrays(tmp_path):
    values = np.random.default_rng(0).standard_normal((3, 2, 4, 5)).astype(np.float32)
    spec = (TensorSpec("x", FLOAT, ("n", 2, 4, 5)),)
    source = _saved(tmp_path, {"x": values}, {"x": datasets.Array3D((2, 4, 5), "float32")})
    assert np.array_equal(open_data(source, spec).first(3).inputs["x"], values)


@pytest.mark.parametrize("limit", [2**20, 0], ids=["memory", "temporary file"])
def test_columns_are_read_piece_by_piece(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(arrow_column, "IN_MEMORY_BYTES", limit)
    monkeypatch.setattr(arrow_column, "chunk_rows", lambda array: 2)
    values = np.arange(21, dtype=np.float32).reshape(7, 3)
    source = _saved(tmp_path, {"x": values.tolist()}, {"x": datasets.Sequence(datasets.Value("float32"))})
    assert np.array_equal(open_data(source, X).columns[0].array, values)


def test_only_column_serves_the_only_input_aloud(tmp_path):
    data = open_data(_saved(tmp_path, {"values": [[1.0, 2.0, 3.0]]}), X)
    assert any("column 'values' is used for input 'x'" in note for note in data.notes)


def test_image_column_serves_an_image_input_with_class_names(tmp_path):
    folder, pixels = _pictures(tmp_path / "d")
    data = open_data(folder, RGB, outputs=LOGITS)
    found = (data.first(5).inputs["input"] * 255).round().transpose(0, 2, 3, 1)
    assert np.array_equal(found, pixels)
    assert data.classes == ("ant", "bee")
    assert any("5 samples in 2 classes (0 = ant, 1 = bee)" in note for note in data.notes)


def test_damaged_image_is_named_and_can_be_left_out(tmp_path):
    folder, pixels = _pictures(tmp_path / "d", row1={"bytes": b"no image", "path": None})
    with pytest.raises(DataError, match=r"1 of 5 images cannot be read \('row 1'"):
        open_data(folder, RGB)
    data = open_data(folder, RGB, skip_corrupt=True)
    assert data.labels.tolist() == [0, 0, 1, 1]
    found = (data.first(5).inputs["input"] * 255).round().transpose(0, 2, 3, 1)
    assert np.array_equal(found, pixels[[0, 2, 3, 4]])


def test_damaged_image_among_two_columns_is_not_left_out(tmp_path):
    rows = [{"bytes": _png(image), "path": None} for image in _pixels(2)]
    kind = datasets.Image(decode=False)
    columns = {"a": rows, "b": [rows[0], {"bytes": b"no image", "path": None}]}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features({"a": kind, "b": kind}))
    table.save_to_disk(tmp_path)
    inputs = tuple(TensorSpec(name, FLOAT, ("n", 3, 8, 8)) for name in "ab")
    with pytest.raises(DataError, match=r"several image columns.*'row 1'"):
        open_data(tmp_path, inputs, skip_corrupt=True)


def test_paths_and_addresses_in_rows_are_not_followed(tmp_path, monkeypatch):
    secret = tmp_path / "secret.png"
    secret.write_bytes(_png(_pixels(1)[0]))
    folder, _ = _pictures(
        tmp_path / "d",
        row1={"bytes": b"x", "path": None},
        row2={"bytes": b"x", "path": None},
    )
    # written past save_to_disk, which would have embedded the file
    import pyarrow as pa

    (file,) = folder.glob("*.arrow")
    table = pa.ipc.open_stream(file.read_bytes()).read_all()
    rows = table["img"].to_pylist()
    rows[1], rows[2] = {"bytes": None, "path": str(secret)}, {"bytes": None, "path": "http://127.0.0.1:9/x.png"}
    table = table.set_column(0, table.schema.field("img"), pa.array(rows, table["img"].type))
    with pa.ipc.new_stream(str(file), table.schema) as writer:
        writer.write_table(table)

    def connect(*arguments):
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(DataError, match=r"2 of 5 images.*'row 1': the row has no image bytes.*not followed"):
        open_data(folder, RGB)


def _splits(folder, **counts):
    parts = {
        name: datasets.Dataset.from_dict({"x": [[float(n)] * 3 for n in range(count)]})
        for name, count in counts.items()
    }
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


@pytest.mark.parametrize(
    ("splits", "wanted", "samples", "told"),
    [
        ({"train": 2, "test": 3, "validation": 4}, "train", 2, "split 'train' is used as training data"),
        ({"train": 2, "test": 3, "validation": 4}, "test", 3, "split 'test' is used as evaluation data"),
        ({"train": 2, "test": 3, "validation": 4}, "validation", 4, "split 'validation' is used as validation data"),
        ({"train": 2, "validation": 4}, "test", 4, "split 'validation' is used as evaluation data"),
        ({"all": 5}, "train", 5, "split 'all' is used as training data"),
    ],
)
def test_split_is_chosen_aloud(tmp_path, splits, wanted, samples, told):
    data = open_data(_splits(tmp_path, **splits), X, split=wanted)
    assert len(data) == samples
    assert any(told in note for note in data.notes)


def test_missing_split_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(DataError, match=r"no split 'train'; its splits: 'a', 'b'"):
        open_data(_splits(tmp_path, a=1, b=1), X)


def test_format_saved_with_the_dataset_does_not_matter(tmp_path):
    table = datasets.Dataset.from_dict({"x": [[1.0, 2.0, 3.0]]}).with_format("torch")
    table.save_to_disk(tmp_path)
    assert open_data(tmp_path, X).first(1).inputs["x"].tolist() == [[1, 2, 3]]


REFUSED = {
    "names": ({"y": [1.0], "z": [2.0]}, X, r"Inputs of the model: 'x'; columns found: 'y' \(Value\), 'z' \(Value\)"),
    "text": ({"x": ["a", "b"]}, X, r"column 'x' is of type string"),
    "text labels": ({"x": [[1.0] * 3], "label": ["cat"]}, X, r"text, such as 'cat'.*class index"),
    "ragged": ({"x": [[1.0], [1.0, 2.0]]}, X, r"column 'x': rows have different.*Pad"),
    "gaps": ({"x": [[1.0] * 3, None]}, X, r"column 'x' has rows without a value"),
    "shape": ({"x": [[1.0] * 4]}, X, r"\[4\].*'x'"),
    "nan": ({"x": [[1.0, 2.0, float("nan")]]}, X, r"NaN.*sample 0"),
    "empty": ({"x": []}, X, r"the data set is empty"),
    "label range": ({"x": [[1.0] * 3], "label": [3]}, X, r"3\.\.3.*0\.\.2"),
    "image input": ({"x": [[1.0] * 3]}, RGB, r"\[3\].*'input'"),
}


@pytest.mark.parametrize(("columns", "inputs", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_dataset_that_does_not_fit_is_refused(tmp_path, columns, inputs, message):
    with pytest.raises(DataError, match=message) as caught:
        open_data(_saved(tmp_path, columns), inputs, outputs=LOGITS)
    assert "\n" not in str(caught.value)


def test_image_column_for_a_model_without_images_is_refused(tmp_path):
    folder, _ = _pictures(tmp_path / "d")
    with pytest.raises(DataError, match=r"holds images.*reads none"):
        open_data(folder, X)


def test_damaged_folder_is_refused(tmp_path):
    whole = _saved(tmp_path / "d", {"x": [[1.0] * 3]})
    (file,) = whole.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        open_data(whole, X)
    (whole / "state.json").unlink()
    with pytest.raises(DataError, match=r"cannot be read.*state\.json"):
        open_data(whole, X)


@pytest.mark.parametrize("name", ["../other.arrow", "/etc/other.arrow"])
def test_file_outside_the_folder_is_refused(tmp_path, name):
    source = _saved(tmp_path / "d", {"x": [[1.0] * 3]})
    state = json.loads((source / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (source / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="names a file in another folder"):
        open_data(source, X)


def test_missing_library_says_how_to_get_it(tmp_path, monkeypatch):
    source = _saved(tmp_path, {"x": [[1.0] * 3]})
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'onnxprune\[datasets\]'"):
        open_data(source, X)


def test_nothing_is_unpickled_or_downloaded(tmp_path, monkeypatch):
    folder, _ = _pictures(tmp_path / "d")

    def forbidden(*arguments, **options):
        raise AssertionError("not here")

    for place in ("pickle.loads", "pickle.load", "pickle.Unpickler", "dill.loads", "dill.load"):
        monkeypatch.setattr(place, forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert len(open_data(folder, RGB)) == 5
