"""Where CUDA may record a run and replay it as one piece, which saves the launch of every kernel.

onnxruntime asks for static shapes, for inputs and outputs at addresses that stay, for all nodes on CUDA and for no
control flow. What shows in the model is looked up; the rest is tried: a session that records is run until it replays,
and its outputs are held against those of a session that does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx

from onnxprune.core.errors import ModelError
from onnxprune.kernels import DOMAIN
from onnxprune.runtime.callers import FixedRun
from onnxprune.runtime.compare import compare, worst_rel
from onnxprune.runtime.errors import ORT_ERRORS, explain
from onnxprune.runtime.providers import CUDA, resolve_provider, short_name
from onnxprune.runtime.session import make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["cuda_graph_obstacle"]

_CONTROL = ("If", "Loop", "Scan")
_UNTIL_REPLAY = 4
"""onnxruntime runs as usual, then records, then replays; one more run is a replay in any of its versions."""
_TOLERANCE = 1e-2


def cuda_graph_obstacle(
    model: Path, feeds: Mapping[str, AnyArray], *, provider: str = "cuda", threads: int | None = None
) -> str:
    """Returns why runs of a model cannot be recorded and replayed; "" where they can.

    Args:
        model: The model's file.
        feeds: Input name → array; shapes are fixed by them.
        provider: As `resolve_provider` takes it.
        threads: As `make_session` takes it.

    Raises:
        UsageError: when the provider does not work here.
        ModelError: when the model cannot be run at all.
        DataError: when `feeds` does not fit the model.
    """
    found = resolve_provider(provider)
    if found != CUDA:
        return f"CUDA alone records runs, and this is {short_name(found)}"
    nodes = list(_nodes(onnx.load(model, load_external_data=False).graph))
    control = sorted({node.op_type for node in nodes if node.op_type in _CONTROL})
    if control:
        return f"{', '.join(control)} in it decides while it runs what comes next"
    if any(node.domain == DOMAIN for node in nodes):
        return "its block-sparse operators set themselves up while they run"
    expected = run(make_session(model, provider=provider, threads=threads), feeds)
    try:
        call = FixedRun(make_session(model, provider=provider, threads=threads, cuda_graph=True), feeds, expected)
        for _ in range(_UNTIL_REPLAY):
            call()
        off = worst_rel(compare(expected, call.outputs()))
    except ModelError as error:
        return str(error).rstrip(".")
    except ORT_ERRORS as error:
        return explain(error)
    # not "off > tolerance": that would let NaN through
    return "" if off <= _TOLERANCE and not math.isnan(off) else f"a replayed run gives other outputs, {off:.1e} off"


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of a graph and of the graphs within it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)
