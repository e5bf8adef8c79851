"""Random changes of images: exact where they can be, in bounds, and the same from the same generator."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from onnxprune.core.errors import UsageError
from onnxprune.train.augment import parse_augment
from onnxprune.train.augment_options import AugmentOptions, parse_augment_options

EVERYTHING = "flip,shift:3,crop:0.5,rotate:20,jitter:0.3,noise:0.1,erase:0.25"


def _images(count=16, height=10, width=14, channels=3):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(7))


def _apply(text, x, seed=0):
    return parse_augment(text).apply({"x": x}, torch.Generator().manual_seed(seed))["x"]


def _ramp(count=200, height=32, width=32):
    """Images whose value at each place is its x, and in the second channel its y, in pixels from the centre."""
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    return torch.stack((x, y)).expand(count, 2, height, width)[:, [0, 1, 0]].contiguous()


def test_switches_are_parsed():
    assert parse_augment_options(" flip, shift:4 ,crop:0.7,rotate:15,jitter:0.2,noise:0.05,erase:0.25") == (
        AugmentOptions(flip=True, shift=4, crop=0.7, rotate=15, jitter=0.2, noise=0.05, erase=0.25)
    )


@pytest.mark.parametrize("text", ["", "  "])
def test_empty_text_changes_nothing(text):
    x = torch.ones(2, 3)
    assert not parse_augment(text)
    assert parse_augment(text).apply({"x": x}, torch.Generator())["x"] is x


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flop", r"'flop' is unknown\. Known are flip; shift:PIXELS"),
        ("flip:1", "'flip:1' is unknown"),
        ("flip,", "'' is unknown"),
        ("flip,flip", "flip is given twice"),
        ("shift", "shift takes a whole number, as in shift:4; got ''"),
        ("shift:1.5", "shift takes a whole number"),
        ("shift:0", "shift must be at least 1"),
        ("crop:big", "crop takes a number, as in crop:0.7; got 'big'"),
        ("crop:1.2", "crop must be at least 0.01 and at most 1"),
        ("rotate:nan", "rotate must be greater than zero and at most 180"),
        ("noise:-1", "noise must be greater than zero"),
        ("erase:0", "erase must be greater than zero and at most 1"),
    ],
)
def test_text_that_makes_no_sense_is_a_usage_error(text, said):
    with pytest.raises(UsageError, match=said):
        parse_augment(text)


def test_flip_mirrors_about_half_of_the_images_exactly():
    x = _images(400, 4, 5)
    y = _apply("flip", x)
    flipped = (y == x.flip(3)).flatten(1).all(1)
    kept = (y == x).flatten(1).all(1)
    assert bool((flipped ^ kept).all())
    assert 150 < int(flipped.sum()) < 250


def test_shift_is_a_random_crop_of_the_padded_image():
    x = _images()
    y = _apply("shift:3", x)
    padded = F.pad(x, (3, 3, 3, 3), mode="reflect")
    crops = [padded[:, :, i : i + 10, j : j + 14] for i in range(7) for j in range(7)]
    hits = torch.stack([(y == crop).flatten(1).all(1) for crop in crops])
    assert bool((hits.sum(0) == 1).all())
    assert int(hits.any(1).sum()) > 5


def test_shift_reaches_every_offset_alike():
    x = torch.arange(9.0).expand(7000, 1, 1, 9).contiguous()
    middle = _apply("shift:3", x)[:, 0, 0, 4]
    counts = torch.bincount(middle.long(), minlength=9)
    assert counts[0] == counts[8] == 0
    assert int(counts[1:8].min()) > 850


def test_shift_beyond_the_image_is_mirrored_again():
    y = _apply("shift:50", _images(8, 2, 1))
    assert y.shape == (8, 3, 2, 1)
    assert bool(torch.isin(y, _images(8, 2, 1)).all())


def test_rotation_turns_in_pixels_whatever_the_aspect_ratio():
    x = _ramp(50, 24, 48)
    y = _apply("rotate:30", x)[:, :, 9:15, 18:30]  # the middle sees no edge
    ax, ay = x[:, 0, 9:15, 18:30], x[:, 1, 9:15, 18:30]
    assert torch.allclose(y[:, 0].square() + y[:, 1].square(), ax.square() + ay.square(), atol=1e-3)
    angles = torch.atan2(y[:, 1], y[:, 0]) - torch.atan2(ay, ax)
    angles = torch.atan2(angles.sin(), angles.cos()) * 180 / math.pi
    assert torch.allclose(angles, angles[:, :1, :1].expand_as(angles), atol=0.05)
    assert 20 < float(angles.abs().max()) <= 30.05


def test_crop_keeps_its_area_aspect_and_place():
    x = _ramp()
    y = _apply("crop:0.5", x)
    sides = torch.stack([(y[:, 0, 16, 20] - y[:, 0, 16, 12]) / 8, (y[:, 1, 20, 16] - y[:, 1, 12, 16]) / 8], 1)
    area, aspect = sides.prod(1), sides[:, 0] / sides[:, 1]
    assert float(sides.max()) <= 1 + 1e-4
    assert 0.5 - 1e-4 <= float(area.min()) < 0.55
    assert 0.95 < float(area.max()) <= 1 + 1e-4
    assert 0.75 - 1e-3 <= float(aspect.min()) < 0.85
    assert 1.2 < float(aspect.max()) <= 4 / 3 + 1e-3
    assert float(y[:, :2].abs().max()) <= 15.5 + 1e-4


def test_crop_of_everything_is_the_image():
    x = _images(8, 12, 10)
    assert torch.allclose(_apply("crop:1", x), x, atol=1e-5)


def test_flips_and_shifts_within_a_resampling_are_those_of_the_exact_way():
    x = _images(16, 16, 16)
    exact, resampled = _apply("flip,shift:2", x), _apply("flip,shift:2,rotate:0.000001", x)
    assert torch.allclose(exact[:, :, 2:-2, 2:-2], resampled[:, :, 2:-2, 2:-2], atol=1e-3)


def test_jitter_changes_mean_and_spread_within_its_share():
    x = _images(500, 6, 6) * 2 + 1
    y = _apply("jitter:0.2", x)
    spread = x.flatten(1).std(1)
    factor = y.flatten(1).std(1) / spread
    offset = (y.flatten(1).mean(1) - x.flatten(1).mean(1)) / spread
    assert 0.8 - 1e-4 <= float(factor.min()) < 0.82
    assert 1.18 < float(factor.max()) <= 1.2 + 1e-4
    assert 0.18 < float(offset.abs().max()) < 0.21


def test_noise_has_the_standard_deviation_asked_for():
    x = _images(64)
    assert float((_apply("noise:0.3", x) - x).std()) == pytest.approx(0.3, rel=0.05)


def test_erase_fills_one_patch_with_the_mean_colour():
    x = _images(300, 16, 16)
    y = _apply("erase:0.25", x)
    changed = (x != y).all(1)
    mask = changed[:, None].expand_as(x)
    assert torch.equal(x[~mask], y[~mask])
    assert torch.allclose(y[mask], x.mean((2, 3), keepdim=True).expand_as(x)[mask])
    areas = changed.sum((1, 2))
    assert int(areas.max()) == 16
    assert 0 < int(areas.min()) < 16  # its centre may lie at the edge


def test_same_generator_gives_the_same_images():
    x = _images()
    assert torch.equal(_apply(EVERYTHING, x, 3), _apply(EVERYTHING, x, 3))
    assert not torch.equal(_apply(EVERYTHING, x, 3), _apply(EVERYTHING, x, 4))


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    _apply(EVERYTHING, _images())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("text", ["flip,shift:2", "rotate:10", "jitter:0.2", "erase:0.3"])
def test_channels_last_images_change_as_channels_first_ones_do(text):
    x = _images()
    last = _apply(text, x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
    assert torch.allclose(last, _apply(text, x), atol=1e-6)  # means are summed in another order


@pytest.mark.parametrize("text", ["flip", "rotate:10,jitter:0.1,erase:0.5", "noise:1"])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_order_in_memory_is_kept_and_changes_no_value(text, order):
    x = _images()
    y = _apply(text, x.contiguous(memory_format=order))
    assert y.is_contiguous(memory_format=order)
    assert torch.allclose(y, _apply(text, x), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_element_type_is_kept(dtype):
    assert _apply(EVERYTHING, _images().to(dtype)).dtype == dtype


def test_images_with_many_channels_are_read_channels_first():
    x = torch.randn(4, 8, 5, 6)
    y = _apply("flip", x)
    assert bool(((y == x) | (y == x.flip(3))).all())


def test_other_inputs_are_untouched_and_images_move_alike():
    x = _images()
    inputs = {"a": x, "b": x.clone(), "tokens": torch.zeros(16, 3), "ids": torch.zeros(16, 1, 2, 2, dtype=torch.int64)}
    found = parse_augment("flip,shift:2").apply(inputs, torch.Generator().manual_seed(0))
    assert found["tokens"] is inputs["tokens"]
    assert found["ids"] is inputs["ids"]
    assert torch.equal(found["a"], found["b"])
    assert not torch.equal(found["a"], x)
    assert inputs["a"] is x


def test_no_image_among_the_inputs_is_a_usage_error():
    with pytest.raises(UsageError, match=r"the model takes x \[16, 3\]\. Leave --augment out"):
        _apply("flip", torch.zeros(16, 3))


@pytest.mark.parametrize("text", ["flip", "shift:1", "crop:0.9", "rotate:1"])
def test_labels_for_positions_refuse_what_moves_pixels(text):
    with pytest.raises(UsageError, match=r"\['samples', 8, 8\]"):
        parse_augment(text).check_labels((10, 8, 8))


@pytest.mark.parametrize(
    ("text", "shape"), [("jitter:0.1,noise:1,erase:0.1", (10, 8, 8)), ("flip", (10,)), ("flip", None)]
)
def test_labels_that_stay_right_are_accepted(text, shape):
    parse_augment(text).check_labels(shape)
