"""A process killed by SIGKILL, again and again, ends where one that was left alone ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from training import bits, samples, student_and_teacher, without_seconds

from onnxprune.train import TrainOptions
from onnxprune.train.loop import train

TESTS = Path(__file__).resolve().parents[2]


def run(folder: Path, epochs: int) -> None:
    """Trains from where `folder` stands, and writes what came out beside it; run by the test in a process."""
    options = TrainOptions(epochs=epochs, batch_size=16, lr=0.05, device="cpu", ema=0.9, checkpoint_seconds=0.0)
    student, teacher = student_and_teacher()
    record = train(student, teacher, samples(), options, validation=samples(24, seed=9), checkpoint=folder, resume=True)
    outcome = {"record": without_seconds(record), "bits": {n: b.hex() for n, b in bits(student).items()}}
    folder.with_suffix(".json").write_text(json.dumps(outcome))


def _start(folder: Path, epochs: int) -> subprocess.Popen[bytes]:
    program = f"import test_kill, pathlib; test_kill.run(pathlib.Path({str(folder)!r}), {epochs})"
    paths = os.pathsep.join((str(TESTS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, start_new_session=True)


def _wait_for_states(folder: Path, more: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when `more` states were written since, or the process ended."""

    def newest() -> int:
        return max((int(p.name.split("-")[1]) for p in folder.glob("generation-*")), default=0)

    aim = newest() + more
    while newest() < aim and process.poll() is None:
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_at_random_moments_ends_in_the_same_bytes(tmp_path):
    seed = int(time.time())
    rng = np.random.default_rng(seed)
    epochs, folder = 12, tmp_path / "killed"
    kills = 0
    while True:
        process = _start(folder, epochs)
        if kills < 3:
            _wait_for_states(folder, int(rng.integers(1, 15)), process)
            time.sleep(float(rng.uniform(0, 0.03)))
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
        assert process.returncode == -signal.SIGKILL
    assert kills == 3
    assert _start(tmp_path / "left alone", epochs).wait() == 0
    killed, left_alone = ((tmp_path / f"{name}.json").read_text() for name in ("killed", "left alone"))
    assert json.loads(killed) == json.loads(left_alone), f"seed {seed}"
    assert [path.name[:11] for path in folder.iterdir()] == ["generation-"]
