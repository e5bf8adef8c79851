"""The main job on real trained models: without data, and (slow) with retraining."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from recount import macs, params

from onnxprune.cli.main import cli
from onnxprune.runtime import make_session

SHARED = Path(__file__).resolve().parents[3] / "shared"
NETS = ("glyphs47_resnet20", "glyphs47_mobilenetv2", "glyphs47_vgg")
# test accuracy of the originals, percent
ORIGINAL = {"glyphs47_resnet20": 86.6, "glyphs47_mobilenetv2": 84.1, "glyphs47_vgg": 86.1}

needs_models = pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="the trained glyphs47 models are not here")
needs_data = pytest.mark.skipif(not (SHARED / "data/glyphs47").is_dir(), reason="the glyphs47 data set is not here")


def compress(net: str, out: Path, *options: str) -> dict[str, object]:
    """Runs `compress` on a net; returns the report."""
    arguments = ["compress", str(SHARED / "models" / f"{net}.onnx"), "-o", str(out), "--json", *options]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(out.with_name(f"{out.stem}.report.json").read_text())
    assert json.loads(result.stdout) == report
    return report


@needs_models
@pytest.mark.usefixtures("quick_latency")
@pytest.mark.parametrize("net", [NETS[0], *(pytest.param(net, marks=pytest.mark.slow) for net in NETS[1:])])
def test_compress_to_forty_percent_without_data(net, tmp_path):
    out = tmp_path / "slim.onnx"
    report = compress(net, out, "--flops", "0.4")
    original, slim = onnx.load(SHARED / "models" / f"{net}.onnx"), onnx.load(out)
    onnx.checker.check_model(slim, full_check=True)
    share = macs(slim) / macs(original)
    assert 0.392 <= share <= 0.4
    assert report["after"]["macs"] == macs(slim)
    assert report["certificate"]["passed"]
    assert report["certificate"]["max_rel"] <= 1e-4
    assert {1, 3} <= set(report["certificate"]["batches"])
    fewer = params(slim) / params(original)
    smaller = out.stat().st_size / (SHARED / "models" / f"{net}.onnx").stat().st_size
    assert smaller < 1
    assert abs(smaller - fewer) < 0.1, "the file shrinks in proportion to the parameters"
    session = make_session(out)
    for batch in (1, 3, 64):
        images = np.random.default_rng(batch).standard_normal((batch, 3, 32, 32)).astype(np.float32)
        assert session.run(None, {"image": images})[0].shape == (batch, 47)


@needs_models
@pytest.mark.usefixtures("quick_latency")
@pytest.mark.parametrize("net", NETS[:1])
def test_contract_of_the_model_is_kept(net, tmp_path):
    out = tmp_path / "slim.onnx"
    compress(net, out, "--flops", "0.5")
    original, slim = onnx.load(SHARED / "models" / f"{net}.onnx"), onnx.load(out)
    for field in ("input", "output"):
        assert list(getattr(slim.graph, field)) == list(getattr(original.graph, field))
    assert list(slim.opset_import) == list(original.opset_import)
    assert (slim.ir_version, slim.producer_name, slim.graph.name) == (
        original.ir_version,
        original.producer_name,
        original.graph.name,
    )
    # what made it is added
    assert [p for p in slim.metadata_props if not p.key.startswith("onnxprune.")] == list(original.metadata_props)
    assert [(n.op_type, n.name, n.output[:]) for n in slim.graph.node] == [
        (n.op_type, n.name, n.output[:]) for n in original.graph.node
    ]


@needs_models
@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_three_epochs_of_retraining_stay_within_two_points(net, tmp_path):
    data = SHARED / "data/glyphs47"
    report = compress(
        net,
        tmp_path / "slim.onnx",
        *("--flops", "0.4", "--data", str(data / "train.npz"), "--eval-data", str(data / "test.npz")),
        *("--image-mean", "0.5", "--image-std", "0.25", "--epochs", "3"),
    )
    evaluation = report["evaluation"]
    assert evaluation["n"] == 7829
    assert evaluation["before"]["top1"] * 100 == pytest.approx(ORIGINAL[net], abs=0.1)
    assert (evaluation["before"]["top1"] - evaluation["after"]["top1"]) * 100 <= 2.0
