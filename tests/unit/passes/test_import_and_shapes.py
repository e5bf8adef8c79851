"""What is laid open on import, and which inputs a model is first run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from graphs import model_of

from onnxprune.core.plan import Plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.passes.certify import Certify
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.open_data import OpenData
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.runtime import FeedPair

FUNCTION = """<ir_version: 8, opset_import: ["" : 18, "local" : 1]>
g (float[n, 2] x) => (float[n, 2] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[3, 2] v = {1, 2, 3, 4, 5, 6}>
{ a = local.layer(x, w) y = MatMul(a, v) }
<domain: "local", opset_import: ["" : 18]> layer (p, q) => (r) { m = MatMul(p, q) r = Relu(m) }
"""


def test_the_original_keeps_its_functions_and_the_working_copy_has_none() -> None:
    bench = Bench()
    run_passes([ImportModel(onnx.parser.parse_model(FUNCTION))], bench)
    original, model = bench.take("original", Model), bench.take("model", Model)
    assert [node.op for node in original.nodes] == ["layer", "MatMul"]
    assert [node.op for node in model.nodes] == ["MatMul", "Relu", "MatMul"]
    assert original.sha256 == model.sha256
    assert any("layer" in note for note in bench.notes)


def test_the_certificate_holds_the_original_with_functions_against_the_pruned_model() -> None:
    bench = Bench()
    passes = [ImportModel(onnx.parser.parse_model(FUNCTION)), FoldConstants(), FindShapes(), FindGroups()]
    run_passes(passes, bench)
    (group,) = bench.artifacts["analysis"].groups
    bench.artifacts["plan"] = Plan("", {group.name: 3}, {group.name: (0, 2)})
    run_passes([PruneChannels(), Certify()], bench)
    assert bench.artifacts["certificate"].worst < 1e-6
    assert bench.take("slim", Model).initializers()["w"].shape == (2, 2)


def test_a_model_without_functions_is_read_once() -> None:
    bench = Bench()
    run_passes([ImportModel(model_of("g (float[N,2] x, float[2,2] w) => (float[N,2] y) { y = MatMul(x, w) }"))], bench)
    assert not bench.notes
    original, model = bench.take("original", Model), bench.take("model", Model)
    assert model.values("w") is original.values("w")


def test_the_first_inputs_are_rows_of_the_data_that_was_opened(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((5, 7, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    bench = Bench()
    proto = model_of("g (float[N,T,4] x, float[4,2] w) => (float[N,T,2] y) { y = MatMul(x, w) }")
    run_passes([ImportModel(proto), OpenData(tmp_path / "data.npz"), FoldConstants(), FindShapes()], bench)
    feeds = bench.take("feeds", FeedPair)
    np.testing.assert_array_equal(feeds.first["x"], x[:2])
    assert feeds.second is not None
    assert feeds.second["x"].shape[1] != 7
