"""What the pass puts on the bench, and what must hold between the sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import model_of
from PIL import Image

from onnxprune.core.errors import DataError
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.open_data import OpenData
from onnxprune.train.bench import find_samples, take_samples

NET = """net (float[N,3,8,8] x, float[4,3,8,8] w) => (float[N,4] y) { c = Conv(x, w) y = Flatten(c) }"""


def _opened(**options: object) -> Bench:
    bench = Bench()
    run_passes([ImportModel(model_of(NET)), OpenData(**options)], bench)  # type: ignore[arg-type]
    return bench


def _arrays(count: int = 10) -> dict[str, np.ndarray]:
    values = np.arange(count, dtype=np.float32).repeat(192).reshape(count, 3, 8, 8)
    return {"x": values, "labels": np.arange(count) % 4}


def _classes(folder: Path, *names: str, size: int = 8) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (size, size)).save(folder / name / "0.png")
    return folder


def test_each_source_gives_its_set() -> None:
    bench = _opened(data=_arrays(5), eval_data=_arrays(4), val_data=_arrays(3))
    assert [len(take_samples(bench, name)) for name in ("data", "eval_data", "val_data")] == [5, 4, 3]


def test_no_source_gives_nothing() -> None:
    assert find_samples(_opened(), "data", "eval_data", "val_data") is None


def test_notes_of_the_data_reach_the_report(tmp_path: Path) -> None:
    bench = _opened(data=_classes(tmp_path, "a", "b", size=9))
    assert any("2 images in 2 classes" in note for note in bench.notes)
    assert any("resized to 8 x 8" in note for note in bench.notes)


def test_share_is_set_aside_for_validation() -> None:
    first, second = (_opened(data=_arrays(), val_share=0.3, seed=seed) for seed in (1, 1))
    data, validation = take_samples(first, "data"), take_samples(first, "val_data")
    rows = [{float(v) for v in part.first(10).inputs["x"][:, 0, 0, 0]} for part in (data, validation)]
    assert (len(data), len(validation)) == (7, 3)
    assert rows[0] | rows[1] == set(range(10))
    again = take_samples(second, "val_data").first(10).inputs["x"]
    assert np.array_equal(again, validation.first(10).inputs["x"])


def test_share_of_a_stream_or_of_one_sample_is_refused() -> None:
    with pytest.raises(DataError, match="--val-data"):
        _opened(data=lambda: [_arrays()], val_share=0.3)
    with pytest.raises(DataError, match="one sample"):
        _opened(data=_arrays(1), val_share=0.3)


@pytest.mark.parametrize("names", [("a", "c"), ("a", "c", "b2"), ("a", "b", "c", "d")])
def test_other_classes_in_evaluation_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    train = _classes(tmp_path / "train", "a", "b", "c")
    test = _classes(tmp_path / "test", *names)
    with pytest.raises(DataError, match="Training data and evaluation data have different classes"):
        _opened(data=train, eval_data=test)


def test_fewer_classes_in_evaluation_are_fine_where_the_indices_agree(tmp_path: Path) -> None:
    train = _classes(tmp_path / "train", "a", "b", "c")
    bench = _opened(data=train, eval_data=_classes(tmp_path / "test", "a", "b"))
    assert len(take_samples(bench, "eval_data")) == 2


def test_damaged_images_are_left_out_where_asked(tmp_path: Path) -> None:
    (_classes(tmp_path, "a", "b") / "a" / "1.png").write_text("no image")
    assert len(take_samples(_opened(data=tmp_path, skip_corrupt=True), "data")) == 2
    with pytest.raises(DataError, match=r"a/1\.png"):
        _opened(data=tmp_path)


def test_labels_for_a_loss_of_the_users_are_taken_as_they_are() -> None:
    arrays = _arrays() | {"labels": np.ones((10, 2), np.float32)}
    assert take_samples(_opened(data=arrays, labels="any"), "data").first(1).labels.shape == (1, 2)  # type: ignore[union-attr]
