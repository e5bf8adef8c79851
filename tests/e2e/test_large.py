"""Models that are large for the memory they may take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from bench.large_model import build, compress, measure

from onnxprune.graph import load_model
from onnxprune.runtime import Runner, compare

WEIGHTS = 300e6
# Python, torch and onnxruntime take about 400 MB before a weight is read; one copy of the weights would take 300 more.
BOUND_MB = 1000


@pytest.mark.slow
def test_peak_memory_stays_near_one_copy_of_the_weights(tmp_path: Path) -> None:
    source, out = tmp_path / "large.onnx", tmp_path / "slim.onnx"
    build(source, WEIGHTS)
    _, peak_mb, code = measure(compress(source, out, ["--flops", "0.5"]))
    assert code == 0
    assert peak_mb < BOUND_MB
    report = json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))
    assert report["certificate"]["passed"]
    assert report["after"]["macs"] <= 0.5 * report["before"]["macs"]
    assert {t.data_location for t in onnx.load(out, load_external_data=False).graph.initializer} >= {
        onnx.TensorProto.EXTERNAL
    }
    assert out.with_name("slim.onnx.data").stat().st_size < 0.75 * WEIGHTS


@pytest.mark.slow
def test_a_large_model_runs_in_parts_as_it_does_whole(tmp_path: Path) -> None:
    build(tmp_path / "large.onnx", WEIGHTS)
    model = load_model(tmp_path / "large.onnx")
    feeds = {"tokens": np.arange(6, dtype=np.int64).reshape(2, 3)}
    (whole,), (parted,) = Runner(model, part_bytes=10**9).run(feeds), Runner(model).run(feeds)
    assert all(each.max_rel < 1e-5 for each in compare(whole, parted))
