"""Stand-ins for models with operators that onnxruntime does not know."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser

from onnxprune.graph import load_model
from onnxprune.runtime import capture, find_feeds, stand_in

HEAD = '<ir_version: 8, opset_import: ["" : 18, "acme" : 1]> g (float[n, 4] x) => (float[n, 4] y)'


def test_model_that_runs_stands_for_itself() -> None:
    model = load_model(onnx.parser.parse_model(HEAD + "{ y = Relu(x) }"))
    found = stand_in(model)
    assert found.model is model
    assert found.notes == ()


def test_unknown_operator_is_cut_out_and_the_rest_runs() -> None:
    proto = onnx.parser.parse_model(HEAD + "<float[n, 4] b> { a = Relu(x) b = acme.Mystery(a) y = Neg(b) }")
    found = stand_in(load_model(proto))
    (note,) = found.notes
    assert "Mystery" in note
    assert [node.op for node in found.model.nodes] == ["Relu", "Neg"]
    pair = find_feeds(found.model.to_proto(), found.model.inputs(), rng=np.random.default_rng(0))
    assert {name: value.shape for name, value in pair.first.items()} == {"x": (2, 4), "b": (2, 4)}
    assert capture(found.model.to_proto(), pair.first).shapes["y"] == (2, 4)
