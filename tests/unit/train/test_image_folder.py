"""Folders of images: classes, sizes, colours, and files that are damaged."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train import open_data
from onnxprune.train.sources import pictures

FLOAT = np.dtype("float32")
RGB = (TensorSpec("image", FLOAT, ("batch", 3, 8, 8)),)
GREY = (TensorSpec("image", FLOAT, ("batch", 1, 8, 8)),)
OPEN = (TensorSpec("image", FLOAT, ("batch", 3, "h", "w")),)
LOGITS = (TensorSpec("logits", FLOAT, ("batch", 3)),)


def _pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _save(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_pixels(8, 8, 3, seed=len(str(path))) if pixels is None else pixels).save(path, **options)
    return path


def _classes(folder, counts):
    for name, count in counts.items():
        for index in range(count):
            _save(folder / name / f"{index}.png", np.full((8, 8, 3), index, np.uint8))
    return folder


def _stored(data):
    """The pixels of all images, [images, 8, 8, 3]."""
    return (data.first(len(data)).inputs["image"] * 255).round().astype(int).transpose(0, 2, 3, 1)


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path):
    data = open_data(_classes(tmp_path, {"dog": 2, "ant": 1, "cat": 3}), RGB, outputs=LOGITS)
    assert data.classes == ("ant", "cat", "dog")
    assert data.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert _stored(data)[:, 0, 0, 0].tolist() == [0, 0, 1, 2, 0, 1]
    assert any("6 images in 3 classes (0 = ant, 1 = cat, 2 = dog)" in note for note in data.notes)
    assert data.describe() == "folder of images: 6 samples, labelled, 3 classes"


def test_pixels_take_the_way_of_arrays(tmp_path):
    pixels = _pixels(2, 8, 8, 3)
    for index, image in enumerate(pixels):
        _save(tmp_path / f"{index}.png", image)
    options = {"image_mean": (0.5, 0.4, 0.3), "image_std": (0.25, 0.2, 0.5)}
    found = open_data(tmp_path, RGB, **options).first(2).inputs["image"]
    assert np.array_equal(found, open_data({"image": pixels}, RGB, **options).first(2).inputs["image"])


def test_channels_last_models_get_channels_last(tmp_path):
    spec = (TensorSpec("image", FLOAT, ("batch", 8, 8, 3)),)
    pixels = _pixels(8, 8, 3)
    _save(tmp_path / "0.png", pixels)
    assert np.allclose(open_data(tmp_path, spec).first(1).inputs["image"][0], pixels / 255)


def test_bytes_models_get_bytes(tmp_path):
    pixels = _pixels(8, 8, 3)
    _save(tmp_path / "0.png", pixels)
    found = open_data(tmp_path, (TensorSpec("image", np.dtype("uint8"), (1, 3, 8, 8)),)).first(1).inputs["image"]
    assert found.dtype == np.uint8
    assert np.array_equal(found[0].transpose(1, 2, 0), pixels)


def test_images_directly_in_the_folder_have_no_labels(tmp_path):
    _save(tmp_path / "b.PNG")
    _save(tmp_path / "a.jpeg")
    data = open_data(tmp_path, RGB)
    assert (len(data), data.labelled, data.classes) == (2, False, ())
    assert any("2 images without labels" in note for note in data.notes)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "webp", "gif", "tif", "tiff", "ppm"])
def test_format_is_read(tmp_path, ending):
    _save(tmp_path / f"0.{ending}", np.full((8, 8, 3), (200, 40, 40), np.uint8))
    assert np.abs(_stored(open_data(tmp_path, RGB)) - (200, 40, 40)).max() <= 12


def test_deeper_folders_belong_to_their_class(tmp_path):
    _save(tmp_path / "a" / "x" / "y" / "0.png")
    _save(tmp_path / "b" / "0.png")
    assert open_data(tmp_path, RGB).labels.tolist() == [0, 1]


def test_images_are_scaled_and_cut_in_the_middle(tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    _save(tmp_path / "0.png", wide)
    data = open_data(tmp_path, RGB)
    assert (_stored(data)[0, :, 1:-1] == 255).all()
    assert any("1 image is resized to 8 x 8" in note for note in data.notes)


def test_size_is_the_users_where_the_model_leaves_it_open(tmp_path):
    for index, size in enumerate([(20, 30), (30, 20), (12, 12)]):
        _save(tmp_path / f"{index}.png", _pixels(*size, 3))
    assert open_data(tmp_path, OPEN, image_size=10).first(3).inputs["image"].shape == (3, 3, 10, 10)
    assert open_data(tmp_path, OPEN, image_size=(6, 9)).first(3).inputs["image"].shape == (3, 3, 6, 9)


def test_images_of_one_size_need_no_size(tmp_path):
    for index in range(2):
        _save(tmp_path / f"{index}.png", _pixels(9, 7, 3))
    assert open_data(tmp_path, OPEN).first(2).inputs["image"].shape == (2, 3, 9, 7)


def test_one_channel_is_grey(tmp_path):
    pixels = _pixels(8, 8)
    _save(tmp_path / "0.png", np.repeat(pixels[:, :, None], 3, axis=2))
    assert np.allclose(open_data(tmp_path, GREY).first(1).inputs["image"][0, 0], pixels / 255, atol=0.01)


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    pixels = _pixels(8, 16, 3)
    _save(tmp_path / "0.png", pixels, exif=exif)
    found = open_data(tmp_path, OPEN).first(1).inputs["image"][0]
    assert np.allclose(found.transpose(1, 2, 0), np.rot90(pixels, -1) / 255)


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024 + 513
    for ending in ("png", "tif"):
        _save(tmp_path / ending / f"0.{ending}", values)
    for image in _stored(open_data(tmp_path, RGB)):
        assert np.array_equal(image[:, :, 0], values >> 8)


def test_palettes_become_colours(tmp_path):
    pixels = np.repeat(_pixels(8, 8, 1), 3, axis=2)
    Image.fromarray(pixels).quantize(256).save(tmp_path / "0.png")
    assert np.abs(_stored(open_data(tmp_path, RGB))[0] - pixels).max() <= 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["rgba", "palette"])
def test_transparency_is_dropped_aloud(tmp_path, kind):
    image = Image.new("RGBA", (8, 8), (10, 200, 30, 0))
    if kind == "palette":
        image = Image.new("P", (8, 8), 1)
        image.putpalette([0, 0, 0, 10, 200, 30])
        image.info["transparency"] = bytes([255, 0])
    image.save(tmp_path / "0.png")
    data = open_data(tmp_path, RGB)
    assert (_stored(data) == (10, 200, 30)).all()
    assert any("1 image has transparency" in note for note in data.notes)


def test_float_pixels_are_refused_by_name(tmp_path):
    _save(tmp_path / "0.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(DataError, match=r"'0\.tif': its pixels are floating point"):
        open_data(tmp_path, RGB)


def test_hidden_and_other_files_are_ignored_aloud(tmp_path):
    _save(tmp_path / "a.png")
    _save(tmp_path / ".thumb.png")
    (tmp_path / "notes.txt").write_text("x")
    data = open_data(tmp_path, RGB)
    assert len(data) == 1
    assert any("2 hidden files and files that are no images are ignored" in note for note in data.notes)


def _damage(folder):
    _classes(folder, {"a": 6, "b": 3})
    whole = _save(folder / "a" / "cut.png", _pixels(64, 64, 3)).read_bytes()
    (folder / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b" / "text.jpg").write_text("no image")
    (folder / "b" / "empty.png").write_bytes(b"")
    (folder / "b" / "gone.png").symlink_to(folder / "nowhere.png")
    return folder


def test_damaged_images_are_named(tmp_path):
    with pytest.raises(DataError) as caught:
        open_data(_damage(tmp_path), RGB)
    message = str(caught.value)
    assert "4 of 13 images cannot be read" in message
    assert "'a/cut.png'" in message
    assert "'b/empty.png'" in message
    assert "1 more" in message
    assert "--skip-corrupt" in message
    assert "\n" not in message


def test_damaged_images_can_be_left_out(tmp_path):
    data = open_data(_damage(tmp_path), RGB, skip_corrupt=True)
    assert data.labels.tolist() == [0] * 6 + [1] * 3
    assert _stored(data)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert any("4 of 13 images cannot be read" in note and "left out" in note for note in data.notes)


def test_damaged_headers_are_named_where_the_size_is_open(tmp_path):
    _damage(tmp_path)
    with pytest.raises(DataError, match="images cannot be read"):
        open_data(tmp_path, OPEN)
    (tmp_path / "a" / "cut.png").unlink()
    assert len(open_data(tmp_path, OPEN, skip_corrupt=True)) == 9


def test_no_image_left_is_an_error_all_the_same(tmp_path):
    (tmp_path / "0.png").write_text("no image")
    with pytest.raises(DataError, match=r"1 of 1 images cannot be read.*Repair or remove them\.$"):
        open_data(tmp_path, RGB, skip_corrupt=True)


def test_image_with_too_many_pixels_is_refused_by_name(tmp_path, monkeypatch):
    _save(tmp_path / "0.png", _pixels(64, 64, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"'0\.png'.*decompression bomb"):
        open_data(tmp_path, RGB)


@pytest.mark.parametrize("skip", [False, True])
def test_what_does_not_fit_into_memory_is_decoded_per_batch(tmp_path, monkeypatch, skip):
    folder = _damage(tmp_path) if skip else _classes(tmp_path, {"a": 6, "b": 3})
    kept = open_data(folder, RGB, skip_corrupt=skip)
    monkeypatch.setattr(pictures, "KEPT_BYTES", 100)
    data = open_data(folder, RGB, skip_corrupt=skip)
    assert isinstance(data.columns[0].array, pictures.LazyPictures)
    for one, two in zip(*(d.batches(4, shuffle=np.random.default_rng(0)) for d in (data, kept)), strict=True):
        assert np.array_equal(one.inputs["image"], two.inputs["image"])
        assert one.labels.tolist() == two.labels.tolist()


def test_image_that_vanishes_later_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "KEPT_BYTES", 100)
    data = open_data(_classes(tmp_path, {"a": 2}), RGB)
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(DataError, match=r"'a/1\.png' could be read when"):
        data.first(2)


def test_links_that_lead_in_circles_end(tmp_path):
    _classes(tmp_path / "data", {"a": 2})
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data" / "a" / "self").symlink_to(tmp_path / "data" / "a", target_is_directory=True)
    assert len(open_data(tmp_path / "data", RGB)) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipe_is_not_waited_on(tmp_path):
    _save(tmp_path / "0.png")
    os.mkfifo(tmp_path / "1.png")
    assert len(open_data(tmp_path, RGB)) == 1


def test_empty_class_keeps_its_index_aloud(tmp_path):
    _classes(tmp_path, {"a": 1, "c": 1})
    (tmp_path / "b").mkdir()
    data = open_data(tmp_path, RGB)
    assert data.labels.tolist() == [0, 2]
    assert any("without images keep their place" in note and ": b." in note for note in data.notes)


def test_numbers_sorted_as_text_are_said_aloud(tmp_path):
    data = open_data(_classes(tmp_path, {"1": 1, "2": 1, "10": 1}), RGB)
    assert data.classes == ("1", "10", "2")
    assert any("'10' comes before '2'" in note for note in data.notes)


def _refused(tmp_path, message, inputs=RGB, **options):
    with pytest.raises(DataError, match=message) as caught:
        open_data(tmp_path, inputs, **options)
    assert "\n" not in str(caught.value)


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    _refused(tmp_path, "holds no images.*png")


def test_images_beside_classes_are_refused(tmp_path):
    _save(_classes(tmp_path, {"a": 1}) / "0.png")
    _refused(tmp_path, r"images \('0\.png'\) as well as sub-folders of images \('a'\)")


def test_splits_are_not_taken_for_classes(tmp_path):
    _refused(_classes(tmp_path, {"train": 1, "val": 1}), "'train', 'val'.*not as classes")


def test_more_classes_than_the_model_has_are_refused(tmp_path):
    _refused(_classes(tmp_path, dict.fromkeys("abcd", 1)), r"4 classes \(a, b, c, d\).*tells 3 apart", outputs=LOGITS)


def test_different_sizes_for_an_open_model_are_refused(tmp_path):
    for index, size in enumerate([8, 8, 9]):
        _save(tmp_path / f"{index}.png", _pixels(size, 8, 3))
    _refused(tmp_path, r"2 sizes.*2 of 8 x 8, 1 of 9 x 8.*--image-size", OPEN)


def test_size_against_the_models_own_is_refused(tmp_path):
    _save(tmp_path / "0.png")
    _refused(tmp_path, "image_size = 9 x 9.*8 x 8", image_size=9)


@pytest.mark.parametrize("size", [0, -1, (1, 2, 3), (), 1.5, (8, "8")])
def test_meaningless_size_is_refused(tmp_path, size):
    _refused(tmp_path, "image_size = .*height and width", image_size=size)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("tokens", np.dtype("int64"), ("batch", 5)),
        TensorSpec("tokens", np.dtype("int64"), ("batch", 3, 8, 8)),
        TensorSpec("sound", FLOAT, ("batch", 16000)),
        TensorSpec("stack", FLOAT, ("batch", 12, 8, 8)),
        TensorSpec("unknown", FLOAT, None),
    ],
    ids=lambda spec: spec.name,
)
def test_model_that_reads_no_images_is_refused(tmp_path, spec):
    _save(tmp_path / "0.png")
    _refused(tmp_path, f"'{spec.name}'.*reads none.*npz", (spec,))


def test_model_with_two_inputs_is_refused(tmp_path):
    _save(tmp_path / "0.png")
    _refused(tmp_path, r"2 inputs \('image', 'x'\)", (*RGB, TensorSpec("x", FLOAT, (None, 2))))
