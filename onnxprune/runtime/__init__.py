"""Everything onnxruntime does for us: running, comparing, timing and evaluating models."""

from __future__ import annotations

from onnxprune.runtime.capture import Capture, capture
from onnxprune.runtime.compare import OutputDifference, compare, worst_rel
from onnxprune.runtime.cores import usable_cores
from onnxprune.runtime.dense_form import FLOAT16, DenseChoice, float16_form
from onnxprune.runtime.environment import environment
from onnxprune.runtime.evaluate import EvalResult, evaluate
from onnxprune.runtime.fastest import SLOWEST, fastest
from onnxprune.runtime.feeds import choose_feeds
from onnxprune.runtime.find_feeds import FeedPair, find_feeds
from onnxprune.runtime.latency import Latency, LatencyComparison, LatencyOptions, measure
from onnxprune.runtime.node_times import NodeSample, profile_nodes
from onnxprune.runtime.part_latency import measure_parts
from onnxprune.runtime.providers import resolve_provider
from onnxprune.runtime.ratios import Ratio
from onnxprune.runtime.runner import PART_BYTES, Runner, observe
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.stand_in import StandIn, stand_in
from onnxprune.runtime.support import Unrunnable, can_run, find_unrunnable

__all__ = [
    "FLOAT16",
    "PART_BYTES",
    "SLOWEST",
    "Capture",
    "DenseChoice",
    "EvalResult",
    "FeedPair",
    "Latency",
    "LatencyComparison",
    "LatencyOptions",
    "ModelSource",
    "NodeSample",
    "OutputDifference",
    "Ratio",
    "Runner",
    "Session",
    "StandIn",
    "Unrunnable",
    "can_run",
    "capture",
    "choose_feeds",
    "compare",
    "environment",
    "evaluate",
    "fastest",
    "find_feeds",
    "find_unrunnable",
    "float16_form",
    "make_session",
    "measure",
    "measure_parts",
    "observe",
    "profile_nodes",
    "resolve_provider",
    "run",
    "stand_in",
    "usable_cores",
    "worst_rel",
]
