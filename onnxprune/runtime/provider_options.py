"""What a session on each execution provider is set to, so that its times are those a user would have.

Of nodes that a provider does not take, those that TensorRT leaves go to CUDA, all others to the CPU. OpenVINO brings
its own threads and its own fusions; DirectML refuses memory patterns and parallel execution; CoreML's older model
format lacks operators that its newer one has.
"""

from __future__ import annotations

import onnxruntime as ort

from onnxprune.runtime.providers import COREML, CPU, CUDA, DML, OPENVINO, TENSORRT, is_usable

__all__ = ["device_of", "fit_options", "provider_chain"]

_DEVICES = {CUDA: "cuda", TENSORRT: "cuda", DML: "dml"}


def provider_chain(provider: str, threads: int, *, cuda_graph: bool = False) -> list[tuple[str, dict[str, str]]]:
    """Returns providers with their options, as `InferenceSession` takes them; each takes what those before it leave.

    Args:
        provider: Full name of the first.
        threads: Threads within one operator, for providers that bring their own.
        cuda_graph: Whether CUDA is to record a run and replay it.
    """
    chain = [(provider, _settings(provider, threads))]
    if provider == TENSORRT and is_usable(CUDA):
        chain.append((CUDA, {}))
    if provider == CUDA and cuda_graph:
        chain[0][1]["enable_cuda_graph"] = "1"
    if provider != CPU:
        chain.append((CPU, {}))
    return chain


def _settings(provider: str, threads: int) -> dict[str, str]:
    if provider == OPENVINO:
        return {"device_type": "CPU", "num_of_threads": str(threads)}
    if provider == COREML:
        return {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"}
    return {}


def fit_options(options: ort.SessionOptions, provider: str) -> None:
    """Sets in `options` what `provider` (a full name) cannot do without."""
    if provider == DML:
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if provider == OPENVINO:
        # fusions of onnxruntime hide from OpenVINO what it would fuse itself
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def device_of(provider: str) -> str:
    """Returns the name of the device in whose memory `provider` (a full name) computes, as `OrtValue` takes it."""
    return _DEVICES.get(provider, "cpu")
