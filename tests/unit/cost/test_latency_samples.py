"""Cut models timed in onnxruntime, and what is kept of it on disk."""

from __future__ import annotations

import json

import pytest
from bridging import convnet, images
from pruning import analysed

from onnxprune.cost.latency_fit import LatencySample
from onnxprune.cost.latency_samples import SampleCache, cache_folder, draw_widths, time_widths
from onnxprune.runtime import LatencyOptions

OPTIONS = LatencyOptions(repeats=5, warmup_s=0.0, min_time_s=0.0, settle_time_s=0.0, max_time_s=0.2, threads=1)
SAMPLES = [LatencySample({"a": 3, "b": 8}, 0.5), LatencySample({"a": 4, "b": 8}, 1.0)]


def test_every_width_is_cut_and_timed():
    item = analysed(convnet())
    widths = draw_widths(item.analysis.sizes, dict.fromkeys(item.analysis.sizes, 2), 4)
    found = list(time_widths(item.model, item.model, item.analysis, {"x": images(1)}, widths, OPTIONS))
    assert [sample.counts for sample in found] == widths
    assert all(0.05 < sample.ratio < 20 for sample in found)


def test_samples_come_back(tmp_path):
    cache = SampleCache(tmp_path / "new", "abc", OPTIONS)
    assert cache.read() == []
    cache.write(SAMPLES)
    assert SampleCache(tmp_path / "new", "abc", OPTIONS).read() == SAMPLES


@pytest.mark.parametrize(
    "other", [("abd", OPTIONS), ("abc", LatencyOptions(threads=2)), ("abc", LatencyOptions(threads=1, batch=8))]
)
def test_other_models_and_conditions_have_files_of_their_own(tmp_path, other):
    SampleCache(tmp_path, "abc", OPTIONS).write(SAMPLES)
    assert SampleCache(tmp_path, *other).read() == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": 1}'])
def test_a_damaged_file_is_no_file(tmp_path, text):
    cache = SampleCache(tmp_path, "abc", OPTIONS)
    cache.write(SAMPLES)
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert cache.read() == []


def test_damaged_samples_are_none(tmp_path):
    cache = SampleCache(tmp_path, "abc", OPTIONS)
    cache.write(SAMPLES)
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_text())
    content["samples"][0]["counts"] = 3
    path.write_text(json.dumps(content))
    assert cache.read() == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    cache = SampleCache(place / "below", "abc", OPTIONS)
    cache.write(SAMPLES)
    assert cache.read() == []


def test_the_folder_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "onnxprune" / "latency"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "onnxprune" / "latency"
