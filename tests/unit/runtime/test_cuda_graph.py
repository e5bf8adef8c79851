"""Recording runs as CUDA graphs: what forbids it, and that outputs are held against those of a plain run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from graphs import model_of

from onnxprune.core.errors import ModelError, UsageError
from onnxprune.runtime import cuda_graph
from onnxprune.runtime.callers import FixedRun
from onnxprune.runtime.cuda_graph import cuda_graph_obstacle
from onnxprune.runtime.providers import CUDA, is_usable
from onnxprune.runtime.session import make_session

PLAIN = "g (float[N, 8] x, float[8, 4] w) => (float[N, 4] y) { a = MatMul(x, w)  y = Relu(a) }"
LOOP = """g (float[N, 8] x) => (float[N, 8] y) {
    n = Constant<value = int64 {3}>()
    go = Constant<value = bool {1}>()
    y = Loop<body = body (int64 i, bool c, float[N, 8] a) => (bool d, float[N, 8] b) {
        d = Identity(c)
        b = Relu(a)
    }>(n, go, x)
}"""
FEEDS = {"x": np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)}


@pytest.fixture
def as_if_cuda(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Sessions on the CPU where CUDA is asked for; gives which of them were to record."""
    recorded: list[bool] = []

    def make(model: Any, *, provider: str, threads: int | None, cuda_graph: bool = False) -> Any:
        recorded.append(cuda_graph)
        return make_session(model, threads=threads)

    monkeypatch.setattr(cuda_graph, "resolve_provider", lambda _: CUDA)
    monkeypatch.setattr(cuda_graph, "make_session", make)
    return recorded


@pytest.fixture
def plain(tmp_path):
    onnx.save(model_of(PLAIN), tmp_path / "plain.onnx")
    return tmp_path / "plain.onnx"


def test_the_cpu_records_nothing(plain):
    assert cuda_graph_obstacle(plain, FEEDS, provider="cpu") == "CUDA alone records runs, and this is cpu"


@pytest.mark.skipif(is_usable(CUDA), reason="CUDA works here")
def test_absent_cuda_is_refused(plain):
    with pytest.raises(UsageError, match="cuda"):
        cuda_graph_obstacle(plain, FEEDS, provider="cuda")


@pytest.mark.usefixtures("as_if_cuda")
def test_control_flow_forbids_recording(tmp_path):
    onnx.save(model_of(LOOP), tmp_path / "loop.onnx")
    assert "Loop in it decides" in cuda_graph_obstacle(tmp_path / "loop.onnx", FEEDS)


def test_a_model_is_recorded_in_a_session_of_its_own(plain, as_if_cuda):
    assert cuda_graph_obstacle(plain, FEEDS) == ""
    assert as_if_cuda == [False, True]


@pytest.mark.usefixtures("as_if_cuda")
def test_other_outputs_forbid_recording(plain, monkeypatch):
    class Wrong(FixedRun):
        def outputs(self):
            return {name: array + 1 for name, array in super().outputs().items()}

    monkeypatch.setattr(cuda_graph, "FixedRun", Wrong)
    assert "a replayed run gives other outputs" in cuda_graph_obstacle(plain, FEEDS)


def test_a_session_that_cannot_record_says_why(plain, monkeypatch, as_if_cuda):
    def refuse(model: Any, *, provider: str, threads: int | None, cuda_graph: bool = False) -> Any:
        if cuda_graph:
            raise ModelError("onnxruntime cannot load the model: nodes lie outside CUDA.")
        return make_session(model, threads=threads)

    monkeypatch.setattr(cuda_graph, "make_session", refuse)
    assert cuda_graph_obstacle(plain, FEEDS) == "onnxruntime cannot load the model: nodes lie outside CUDA"


def test_a_fixed_run_writes_to_the_same_place_each_time(plain):
    session = make_session(plain, threads=1)
    expected = session.run(None, FEEDS)[0]
    run = FixedRun(session, FEEDS, {"y": expected})
    run()
    first = run.outputs()["y"]
    run()
    np.testing.assert_allclose(run.outputs()["y"], expected, rtol=1e-6)
    np.testing.assert_array_equal(first, run.outputs()["y"])
