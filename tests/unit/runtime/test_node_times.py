"""Time by node: which nodes, and sums of what runs several times in a run."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from onnxprune.core.errors import DataError
from onnxprune.runtime.node_times import _nodes, profile_nodes

NET = """<ir_version: 8, opset_import: ["" : 18]> g (float[n, 64] x) => (float[n, 64] y) {
  [first] a = MatMul(x, x2)
  [second] y = Softmax(a)
}"""


def model() -> onnx.ModelProto:
    proto = onnx.parser.parse_model(NET)
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "x2"))
    return proto


def test_every_node_of_every_model_is_timed() -> None:
    found = profile_nodes({"a": model(), "b": model()}, {"x": np.ones((4, 64), np.float32)}, threads=1, runs=5)
    assert list(found) == ["a", "b"]
    for nodes in found.values():
        assert [(node.name, node.op) for node in nodes] == [("first", "MatMul"), ("second", "Softmax")]
        assert all(node.p50_us >= 0 for node in nodes)


def test_feeds_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError):
        profile_nodes({"a": model()}, {"x": np.ones((4, 3), np.float32)}, threads=1)


def test_warm_up_does_not_count_and_runs_of_a_loop_add_up() -> None:
    def event(name: str, op: str, ts: int, dur: float) -> dict[str, object]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": op}}

    events = [event("once", "Conv", run, 900.0 if run < 3 else 10.0 + run) for run in range(8)]
    events += [event("thrice", "Add", 100 + i, 500.0 if i < 9 else 4.0) for i in range(24)]
    events.append({"cat": "Session", "name": "model_run", "ts": 0, "dur": 1.0})
    once, thrice = _nodes(events[::-1], 8)
    assert (once.name, once.op, once.p50_us) == ("once", "Conv", 15.0)
    assert (thrice.name, thrice.p50_us) == ("thrice", 12.0)
