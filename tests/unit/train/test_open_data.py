"""Data files against a model's inputs: what is accepted, what is said, what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train import open_data

IMAGE = (TensorSpec("image", np.dtype("float32"), ("batch", 3, 8, 8)),)
TOKENS = (TensorSpec("tokens", np.dtype("int64"), ("batch", 5)),)
LOGITS = (TensorSpec("logits", np.dtype("float32"), ("batch", 4)),)
PAIR = (TensorSpec("a", np.dtype("float32"), (None, 2)), TensorSpec("b", np.dtype("float32"), (None, 3)))


def _pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _all(dataset):
    (batch,) = dataset.batches(len(dataset))
    return batch


def test_nhwc_bytes_become_normalised_nchw(tmp_path):
    pixels = _pixels(6, 8, 8, 3)
    np.savez(tmp_path / "d.npz", images=pixels, labels=np.array([0, 1, 2, 3, 0, 1]))
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.2, 0.5)
    data = open_data(tmp_path / "d.npz", IMAGE, image_mean=mean, image_std=std, outputs=LOGITS)
    batch = _all(data)
    expected = ((pixels / 255 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    assert batch.inputs["image"].dtype == np.float32
    assert batch.inputs["image"].flags.c_contiguous
    assert np.allclose(batch.inputs["image"], expected, atol=1e-5)
    assert batch.labels.tolist() == [0, 1, 2, 3, 0, 1]
    assert any("'images' is used for input 'image'" in note for note in data.notes)
    assert any("NHWC" in note and "NCHW" in note for note in data.notes)


def test_nchw_bytes_stay_as_they_lie_with_one_mean_for_all():
    pixels = _pixels(4, 3, 8, 8)
    data = open_data({"image": pixels}, IMAGE, image_mean=0.5, image_std=0.25)
    assert np.allclose(_all(data).inputs["image"], (pixels / 255 - 0.5) / 0.25, atol=1e-5)
    assert any("read as NCHW" in note for note in data.notes)


def test_images_for_a_channels_last_model_keep_or_turn():
    spec = (TensorSpec("image", np.dtype("float32"), ("batch", 8, 8, 3)),)
    pixels, mean = _pixels(4, 8, 8, 3), (0.1, 0.2, 0.3)
    kept = open_data({"image": pixels}, spec, image_mean=mean)
    turned = open_data({"image": pixels.transpose(0, 3, 1, 2)}, spec, image_mean=mean)
    expected = pixels / 255 - np.array(mean)
    assert np.allclose(_all(kept).inputs["image"], expected, atol=1e-6)
    assert np.allclose(_all(turned).inputs["image"], expected, atol=1e-6)


def test_dynamic_image_sizes_are_told_apart_by_the_channels():
    spec = (TensorSpec("image", np.dtype("float32"), ("n", "c", "h", "w")),)
    assert _all(open_data({"image": _pixels(2, 9, 7, 3)}, spec)).inputs["image"].shape == (2, 3, 9, 7)
    assert _all(open_data({"image": _pixels(2, 3, 9, 7)}, spec)).inputs["image"].shape == (2, 3, 9, 7)


def test_grey_images_without_a_channel_axis_get_one():
    spec = (TensorSpec("image", np.dtype("float32"), ("batch", 1, 8, 8)),)
    data = open_data({"image": _pixels(5, 8, 8)}, spec)
    assert _all(data).inputs["image"].shape == (5, 1, 8, 8)
    assert any("grey" in note for note in data.notes)


def test_bytes_without_mean_and_std_are_divided_and_said_aloud():
    pixels = _pixels(2, 3, 8, 8)
    data = open_data({"image": pixels}, IMAGE)
    assert np.allclose(_all(data).inputs["image"], pixels / 255)
    assert any("divided by 255" in note for note in data.notes)


def test_floats_are_taken_as_they_are_and_ignore_the_mean():
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8))
    data = open_data({"image": x}, IMAGE, image_mean=0.5)
    assert _all(data).inputs["image"].dtype == np.float32
    assert np.allclose(_all(data).inputs["image"], x, atol=1e-6)
    assert any("used as they are" in note for note in data.notes)


def test_integers_are_cast_for_integer_inputs():
    data = open_data({"tokens": np.arange(10, dtype=np.int16).reshape(2, 5)}, TOKENS)
    assert _all(data).inputs["tokens"].dtype == np.int64
    assert data.inputs == ("tokens",)


def test_npy_file_serves_the_only_input(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros((7, 3, 8, 8), np.float32))
    data = open_data(tmp_path / "d.npy", IMAGE)
    assert len(data) == 7
    assert data.labels is None


def test_bytes_are_kept_as_bytes():
    pixels = _pixels(4, 8, 8, 3)
    assert open_data({"image": pixels}, IMAGE).columns[0].array is pixels


def test_extra_arrays_are_ignored_aloud():
    data = open_data({"image": _pixels(2, 3, 8, 8), "weights": np.ones(2)}, IMAGE)
    assert any("ignored: weights" in note for note in data.notes)


REFUSED = {
    "names": ({"a": np.ones((2, 2)), "c": np.ones((2, 3))}, PAIR, r"'a', 'b'.*'a', 'c'"),
    "missing input": ({"a": np.ones((2, 2))}, PAIR, r"'a', 'b'.*arrays found.*'a'"),
    "only labels": ({"labels": np.ones(2, int)}, IMAGE, r"'image'.*none"),
    "shape": ({"image": np.ones((2, 3, 8, 9))}, IMAGE, r"\[3, 8, 9\].*\[batch, 3, 8, 8\]"),
    "float nhwc": ({"image": np.ones((2, 8, 8, 3))}, IMAGE, r"look like NHWC"),
    "byte shape": ({"image": _pixels(2, 9, 9, 3)}, IMAGE, r"\[9, 9, 3\]"),
    "rank": ({"image": np.ones((2, 3))}, IMAGE, r"\[3\]"),
    "dtype": ({"tokens": np.ones((2, 5))}, TOKENS, r"float64.*int64"),
    "strings": ({"image": np.full((2, 3, 8, 8), "a")}, IMAGE, r"<U1"),
    "token range": (
        {"tokens": np.full((2, 5), 2**40)},
        (TensorSpec("tokens", np.dtype("int32"), (None, 5)),),
        r"1099511627776.*int32",
    ),
    "lengths": ({"a": np.ones((2, 2)), "b": np.ones((3, 3))}, PAIR, r"'a': 2; .*'b': 3"),
    "label count": ({"image": _pixels(2, 3, 8, 8), "labels": np.zeros(3, int)}, IMAGE, r": 2; .*`labels`: 3"),
    "nan": ({"a": np.array([[0, 0], [0, np.nan]]), "b": np.ones((2, 3))}, PAIR, r"'a' holds NaN.*sample 1"),
    "empty": ({"image": np.zeros((0, 3, 8, 8), np.float32)}, IMAGE, r"empty"),
    "scalar": ({"image": np.float32(1)}, IMAGE, r"empty"),
    "label range": ({"image": _pixels(2, 3, 8, 8), "labels": np.array([0, 4])}, IMAGE, r"0\.\.4.*0\.\.3"),
    "negative label": ({"image": _pixels(2, 3, 8, 8), "labels": np.array([-1, 0])}, IMAGE, r"-1\.\.0"),
    "float labels": ({"image": _pixels(2, 3, 8, 8), "labels": np.zeros(2)}, IMAGE, r"float64.*class index"),
    "text labels": ({"image": _pixels(2, 3, 8, 8), "labels": np.array(["a", "b"])}, IMAGE, r"class index"),
    "one-hot labels": ({"image": _pixels(2, 3, 8, 8), "labels": np.eye(2, 4, dtype=int)}, IMAGE, r"\[2, 4\]"),
}


@pytest.mark.parametrize(("arrays", "inputs", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_misfit_is_one_paragraph(arrays, inputs, message):
    with pytest.raises(DataError, match=message) as caught:
        open_data(arrays, inputs, outputs=LOGITS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5), None, "2 numbers.*3 channels"),
        (None, 0.0, "greater than zero"),
        (float("nan"), None, "finite"),
        ((), None, "finite"),
    ],
)
def test_bad_normalisation_is_refused(mean, std, message):
    with pytest.raises(DataError, match=message):
        open_data({"image": _pixels(2, 3, 8, 8)}, IMAGE, image_mean=mean, image_std=std)


def test_files_of_another_kind_are_refused_with_what_is_supported(tmp_path):
    (tmp_path / "d.csv").write_text("1,2")
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 not an archive")
    (tmp_path / "e.npz").write_bytes(b"")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    for name, message in (
        ("", "holds no images"),
        ("none.npz", "does not exist.*npz"),
        ("d.csv", r"'\.csv'.*npz"),
        ("d.npz", "cannot be read"),
        ("e.npz", "cannot be read"),
        ("o.npy", "cannot be read.*refused"),
    ):
        with pytest.raises(DataError, match=message):
            open_data(tmp_path / name, IMAGE)


def test_truncated_archive_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", image=_pixels(50, 3, 8, 8))
    whole = (tmp_path / "d.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[200:300] = bytes(100)
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        (tmp_path / "d.npz").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            open_data(tmp_path / "d.npz", IMAGE)


def test_batches_cover_everything_once_in_a_seeded_order():
    data = open_data({"tokens": np.arange(50).reshape(10, 5), "labels": np.arange(10) % 4}, TOKENS)
    orders = []
    for _ in range(2):
        batches = list(data.batches(3, shuffle=np.random.default_rng(7)))
        assert [len(b.rows) for b in batches] == [3, 3, 3, 1]
        orders.append([int(r) for b in batches for r in b.rows])
        for batch in batches:
            assert (batch.inputs["tokens"][:, 0] == batch.rows * 5).all()
            assert (batch.labels == batch.rows % 4).all()
    assert orders[0] == orders[1] != sorted(orders[0])
    assert sorted(orders[0]) == list(range(10))
    assert [len(b.rows) for b in data.batches(3, drop_last=True)] == [3, 3, 3]


def test_calibration_and_split_draw_without_repeats():
    data = open_data({"tokens": np.arange(50).reshape(10, 5), "labels": np.arange(10) % 4}, TOKENS)
    drawn = [int(r) for b in data.calibration(7, np.random.default_rng(0), batch_size=4) for r in b.rows]
    assert len(set(drawn)) == len(drawn) == 7
    first, second = data.split(0.3, np.random.default_rng(0))
    values = [{int(v) for v in _all(part).inputs["tokens"][:, 0]} for part in (first, second)]
    assert (len(first), len(second)) == (7, 3)
    assert values[0] | values[1] == set(range(0, 50, 5))
    assert _all(second).labels.tolist() == [int(v) // 5 % 4 for v in _all(second).inputs["tokens"][:, 0]]


def test_data_needs_no_torch():
    program = "import sys, onnxprune.train; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
