"""Several processes train as one would; a real pair talks through Gloo."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from graphs import model_of
from training import losses, samples, student_and_teacher

from onnxprune.bridge import to_torch
from onnxprune.core.errors import DataError, OnnxPruneError, UsageError
from onnxprune.graph import load_model
from onnxprune.train import TrainOptions, open_data
from onnxprune.train.batching import global_batch_size
from onnxprune.train.loop import train
from onnxprune.train.workers import Workers, pick_device, workers

TESTS = Path(__file__).resolve().parents[2]
OPTIONS = TrainOptions(epochs=3, batch_size=16, lr=0.02, device="cpu", checkpoint_seconds=0.0)
UNREACHED = """g (float[N,4] x, float[4,5] w, float[4,3] v) => (float[N,5] y, int64[N] k) {
  y = MatMul(x, w)
  h = MatMul(x, v)
  k = ArgMax<axis=1, keepdims=0>(h)
}"""


def run(folder: Path) -> None:
    """One of the processes: trains, is stopped, resumes; writes what it got."""
    team = workers()
    report: dict[str, object] = {"size": team.size}
    student, teacher = student_and_teacher()
    seen: list[int] = []
    whole = train(
        student,
        teacher,
        samples(70),
        OPTIONS,
        validation=samples(25, seed=9),
        on_progress=lambda progress: seen.append(progress.step),
    )
    report |= {"losses": losses(whole.epochs), "metrics": [e.metric for e in whole.epochs], "heard": bool(seen)}
    report["state"] = {name: tensor.flatten().tolist() for name, tensor in student.state_dict().items()}
    report["resumed"] = _resumed(folder)
    report["unreached"] = _unreached()
    few, teacher = student_and_teacher()
    report["few"] = losses(train(few, teacher, samples(7), OPTIONS).epochs)
    try:
        train(few, teacher, samples(), replace(OPTIONS, batch_size=15))
    except UsageError as error:
        report["odd"] = str(error)
    (folder / f"rank{team.rank}.json").write_text(json.dumps(report))


def _unreached() -> list[float]:
    """Epochs of a net with a weight that no gradient reaches."""
    proto = model_of(UNREACHED)
    x = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    student, teacher = to_torch(proto), to_torch(proto)
    with torch.no_grad():
        next(student.parameters()).mul_(0.5)
    return losses(train(student, teacher, open_data({"x": x}, load_model(proto).inputs()), OPTIONS).epochs)


def _resumed(folder: Path) -> list[float]:
    """Epochs of a run that stopped after one and went on."""
    student, teacher = student_and_teacher()
    validation = samples(25, seed=9)
    first = replace(OPTIONS, checkpoint_seconds=1e9)
    cut = _CutShort(samples(70), steps=6)
    with contextlib.suppress(_Stopped):
        train(student, teacher, cut, first, validation=validation, checkpoint=folder / "state")
    student, teacher = student_and_teacher()
    record = train(
        student, teacher, samples(70), first, validation=validation, checkpoint=folder / "state", resume=True
    )
    return losses(record.epochs)


class _Stopped(Exception):
    """Stands for a death of all processes at once."""


class _CutShort:
    """Samples that end in an exception after some batches of training, in every process."""

    def __init__(self, inner: object, steps: int) -> None:
        self._inner, self._left = inner, steps

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def __len__(self) -> int:
        return len(self._inner)

    def batches(self, *arguments, shuffle=None, **named):
        for batch in self._inner.batches(*arguments, shuffle=shuffle, **named):
            if shuffle is not None:
                if not self._left:
                    raise _Stopped
                self._left -= 1
            yield batch


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    program = folder / "program.py"
    program.write_text(f"import pathlib, test_workers\ntest_workers.run(pathlib.Path({str(folder)!r}))\n")
    paths = os.pathsep.join((str(TESTS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_pair_has_the_loss_curve_of_one_process(reports):
    student, teacher = student_and_teacher()
    alone = train(student, teacher, samples(70), OPTIONS, validation=samples(25, seed=9))
    assert reports[0]["size"] == 2
    assert np.allclose(reports[0]["losses"], losses(alone.epochs), rtol=0, atol=1e-3)
    assert np.allclose(reports[0]["metrics"], [e.metric for e in alone.epochs], rtol=0, atol=1e-9)
    for name, tensor in student.state_dict().items():
        assert np.allclose(reports[0]["state"][name], tensor.flatten().numpy(), rtol=0, atol=1e-3), name


@pytest.mark.slow
def test_pair_agrees_to_the_bit_and_one_of_them_reports(reports):
    first, second = reports
    assert {**first, "heard": None} == {**second, "heard": None}
    assert (first["heard"], second["heard"]) == (True, False)


@pytest.mark.slow
def test_pair_resumes_to_the_same_bits(reports):
    assert reports[0]["resumed"] == reports[0]["losses"]


@pytest.mark.slow
def test_pair_with_parts_of_different_sizes_trains_as_one(reports):
    student, teacher = student_and_teacher()
    assert np.allclose(reports[0]["few"], losses(train(student, teacher, samples(7), OPTIONS).epochs), atol=1e-3)


@pytest.mark.slow
def test_pair_does_not_wait_for_weights_that_no_gradient_reaches(reports):
    assert np.allclose(reports[0]["unreached"], _unreached(), atol=1e-3)


@pytest.mark.slow
def test_pair_refuses_a_batch_that_does_not_divide(reports):
    assert "batch_size = 15" in reports[1]["odd"]


@pytest.mark.slow
def test_error_of_one_process_ends_the_other(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import torch, test_workers as t\n"
        "class Bad:\n"
        "    def __init__(self, inner): self.inner = inner\n"
        "    def __getattr__(self, name): return getattr(self.inner, name)\n"
        "    def __len__(self): return len(self.inner)\n"
        "    def batches(self, *a, **k):\n"
        "        for number, batch in enumerate(self.inner.batches(*a, **k)):\n"
        "            if number == 2 and k.get('shuffle') is not None: raise ValueError('broken sample')\n"
        "            yield batch\n"
        "data = t.samples(70)\n"
        "student, teacher = t.student_and_teacher()\n"
        "t.train(student, teacher, Bad(data) if t.workers().rank == 1 else data, t.OPTIONS)\n"
    )
    paths = os.pathsep.join((str(TESTS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode != 0
    assert "broken sample" in done.stderr


@pytest.fixture
def environment(monkeypatch):
    workers.cache_clear()
    yield monkeypatch
    workers.cache_clear()


def test_without_torchrun_there_is_one_process(environment):
    environment.delenv("WORLD_SIZE", raising=False)
    team = workers()
    assert (team.rank, team.size, team.first) == (0, 1, True)
    tensor = torch.tensor([1.0, 2.0])
    assert team.total(tensor) is tensor
    assert team.mean(tensor) is tensor
    assert team.broadcast_text("é") == "é"
    assert team.on_first(lambda: b"x") == b"x"
    team.barrier()


def test_half_an_environment_is_a_usage_error(environment):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.delenv(name, raising=False)
    environment.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"RANK, MASTER_ADDR, MASTER_PORT is not set.*torchrun"):
        workers()
    environment.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="WORLD_SIZE = 'two'"):
        workers()


def test_batch_is_shared_evenly_or_refused():
    _, teacher = student_and_teacher()
    assert global_batch_size(teacher, samples(), 16, Workers(0, 2)) == 16
    with pytest.raises(UsageError, match=r"batch_size = 15 .* 2 processes"):
        global_batch_size(teacher, samples(), 15, Workers(0, 2))
    with pytest.raises(DataError, match="3 samples are too few for 4 processes"):
        global_batch_size(teacher, samples(3), 16, Workers(0, 4))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_a_usage_error():
    assert pick_device("auto", Workers()).type == "cpu"
    with pytest.raises(UsageError, match="no CUDA device"):
        pick_device("cuda", Workers())


def test_process_that_is_left_alone_says_so():
    with pytest.raises(OnnxPruneError, match="Another process of this training ended"), Workers(1, 2, 1).watched():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    with pytest.raises(RuntimeError, match="something else"), Workers(1, 2, 1).watched():
        raise RuntimeError("something else")
