"""The pass manager holds passes to their promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from onnxprune.core.errors import InternalError
from onnxprune.core.events import PassFinished, PassStarted
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, Pass


class Graph:
    """A stand-in for a model."""

    def __init__(self) -> None:
        self.nodes = ["a"]

    def fingerprint(self) -> str:
        return " ".join(self.nodes)

    def node_count(self) -> int:
        return len(self.nodes)


class Make(Pass):
    name = "make"
    gives = ("model",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        return {"model": Graph()}


class Count(Pass):
    name = "count"
    needs = ("model",)
    gives = ("count",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        return {"count": bench.take("model", Graph).node_count()}


class Grow(Pass):
    name = "grow"
    needs = ("model",)
    edits = ("model",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        bench.take("model", Graph).nodes.append("b")
        return {}


class Secret(Grow):
    name = "secret"
    edits = ()


class Liar(Pass):
    name = "liar"
    gives = ("truth",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        return {"something": 1}


def test_passes_run_in_order_and_are_recorded():
    events: list[object] = []
    bench = Bench(on_event=events.append)
    records = run_passes([Make(), Grow(), Count()], bench)
    assert bench.take("count", int) == 2
    assert [(r.name, r.nodes_before, r.nodes_after, r.modified) for r in records] == [
        ("make", 0, 1, True),
        ("grow", 1, 2, True),
        ("count", 2, 2, False),
    ]
    assert [type(e) for e in events] == [PassStarted, PassFinished] * 3


def test_missing_artifact_is_found_before_anything_runs():
    bench = Bench()
    with pytest.raises(InternalError, match="Pass count needs model"):
        run_passes([Count(), Make()], bench)
    assert bench.artifacts == {}


def test_undeclared_edit_is_an_error_that_lists_the_passes_before():
    with pytest.raises(InternalError, match=r"secret edited \['model'\].*\['make'\]"):
        run_passes([Make(), Secret()], Bench())


def test_broken_promise_is_an_error():
    with pytest.raises(InternalError, match=r"liar promised \['truth'\] and gave \['something'\]"):
        run_passes([Liar()], Bench())


def test_take_of_the_wrong_kind_is_an_error():
    bench = Bench({"model": 3})
    with pytest.raises(InternalError, match="no Graph called 'model'"):
        bench.take("model", Graph)


def test_note_is_told_once():
    told: list[object] = []
    bench = Bench(on_event=told.append)
    bench.note("hello")
    bench.note("hello")
    assert bench.notes == ["hello"]
    assert len(told) == 1
