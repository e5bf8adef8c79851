"""Handlers of progress: what they are told, and that what they raise reaches the caller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from bridging import convnet, labelled

import onnxprune
from onnxprune.core.events import Event, Note, PassFinished, PassStarted, TrainProgress

OPTIONS = {"flops": 0.5, "epochs": 1, "batch_size": 32, "allocator": "global"}


class Stop(Exception):
    """What a program of the user's raises to end a run."""


def _stop_at(kind: type[Event], name: str = ""):
    def handle(event: Event) -> None:
        if isinstance(event, kind) and (not name or event.name == name):
            raise Stop(kind.__name__)

    return handle


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (PassStarted, "import_model"),
        (PassFinished, "find_groups"),
        (PassStarted, "certify"),
        (TrainProgress, ""),
        (PassStarted, "validate_model"),
        (PassStarted, "export_model"),
    ],
)
def test_what_a_handler_raises_ends_compress(tmp_path: Path, kind: type[Event], name: str) -> None:
    out = tmp_path / "slim.onnx"
    with pytest.raises(Stop, match=kind.__name__):
        onnxprune.compress(convnet(), data=labelled(64), out=out, on_event=_stop_at(kind, name), **OPTIONS)
    assert not out.exists()


@pytest.mark.parametrize("kind", [PassStarted, PassFinished])
def test_what_a_handler_raises_ends_the_other_calls(tmp_path: Path, kind: type[Event]) -> None:
    onnx.save(convnet(), tmp_path / "net.onnx")
    handle = _stop_at(kind)
    with pytest.raises(Stop):
        onnxprune.inspect(convnet(), on_event=handle)
    with pytest.raises(Stop):
        onnxprune.validate(convnet(), convnet(), on_event=handle)
    with pytest.raises(Stop):
        onnxprune.retrain(convnet(), data=labelled(64), epochs=1, on_event=handle)


def test_what_a_handler_raises_ends_bench(tmp_path: Path) -> None:
    onnx.save(convnet(), tmp_path / "net.onnx")
    seen: list[Event] = []
    onnxprune.bench([tmp_path / "net.onnx"], repeats=5, seconds=0.1, starts=0, on_event=seen.append)
    assert seen
    with pytest.raises(Stop):
        onnxprune.bench([tmp_path / "net.onnx"], repeats=5, seconds=0.1, starts=0, on_event=_stop_at(type(seen[0])))


def test_a_run_ended_by_its_handler_goes_on(tmp_path: Path) -> None:
    onnx.save(convnet(), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", **labelled(64))
    files = {"data": tmp_path / "data.npz", "out": tmp_path / "slim.onnx", "run_dir": tmp_path / "run"}
    with pytest.raises(Stop):
        onnxprune.compress(tmp_path / "net.onnx", on_event=_stop_at(PassStarted, "validate_model"), **files, **OPTIONS)
    found: list[Event] = []
    result = onnxprune.compress(tmp_path / "net.onnx", resume=True, on_event=found.append, **files, **OPTIONS)
    assert result.path == tmp_path / "slim.onnx"
    assert PassStarted("recall_decision") in found


def test_notes_of_the_report_were_told(tmp_path: Path) -> None:
    found: list[Event] = []
    result = onnxprune.compress(convnet(), flops=0.5, on_event=found.append)
    assert set(result.report["notes"]) <= {event.text for event in found if isinstance(event, Note)}
