"""Providers that are absent, and what sessions on those that are there would be set to."""

from __future__ import annotations

import onnxruntime as ort
import pytest

from onnxprune.core.errors import UsageError
from onnxprune.runtime import provider_options, providers
from onnxprune.runtime.provider_options import device_of, fit_options, provider_chain
from onnxprune.runtime.providers import COREML, CPU, CUDA, DML, OPENVINO, TENSORRT, resolve_provider


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("openvino", "onnxruntime-openvino"),
        ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
        ("coreml", "macOS"),
        ("dml", "onnxruntime-directml"),
        ("directml", "onnxruntime-directml"),
        ("tensorrt", "TensorRT's libraries"),
        ("cuda", "onnxruntime-gpu"),
        ("abacus", "Available and working here"),
    ],
)
def test_an_absent_provider_says_where_it_comes_from_and_what_works(monkeypatch, name, source):
    monkeypatch.setattr(providers, "available_providers", lambda: (CPU,))
    with pytest.raises(UsageError) as caught:
        resolve_provider(name)
    assert source in str(caught.value)
    assert str(caught.value).endswith("Available and working here: cpu.")


@pytest.mark.parametrize(
    ("name", "full"),
    [("openvino", OPENVINO), ("CoreML", COREML), ("directml", DML), ("dml", DML), ("trt", TENSORRT), ("cuda", CUDA)],
)
def test_a_provider_that_is_there_is_found_by_its_names(monkeypatch, name, full):
    monkeypatch.setattr(providers, "available_providers", lambda: (full, CPU))
    monkeypatch.setattr(providers, "is_usable", lambda _: True)
    assert resolve_provider(name) == full


@pytest.mark.parametrize("works", [True, False])
def test_tensorrt_leaves_nodes_to_cuda_where_that_works(monkeypatch, works):
    monkeypatch.setattr(provider_options, "is_usable", lambda _: works)
    names = [name for name, _ in provider_chain(TENSORRT, 2)]
    assert names == ([TENSORRT, CUDA, CPU] if works else [TENSORRT, CPU])


def test_chains_end_on_the_cpu_and_hold_what_each_provider_needs():
    assert provider_chain(CPU, 2) == [(CPU, {})]
    assert provider_chain(CUDA, 2) == [(CUDA, {}), (CPU, {})]
    assert provider_chain(CUDA, 2, cuda_graph=True)[0] == (CUDA, {"enable_cuda_graph": "1"})
    assert provider_chain(OPENVINO, 3)[0][1]["num_of_threads"] == "3"
    assert provider_chain(COREML, 1)[0][1]["ModelFormat"] == "MLProgram"


def test_directml_gets_neither_memory_patterns_nor_parallel_execution():
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    fit_options(options, DML)
    assert not options.enable_mem_pattern
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL


def test_the_cpu_is_left_as_it_is():
    options = ort.SessionOptions()
    level = options.graph_optimization_level
    fit_options(options, CPU)
    assert options.enable_mem_pattern
    assert options.graph_optimization_level == level


def test_values_lie_where_the_provider_computes():
    assert [device_of(name) for name in (CPU, CUDA, TENSORRT, DML, OPENVINO)] == ["cpu", "cuda", "cuda", "dml", "cpu"]
