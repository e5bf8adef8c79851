"""`onnxprune import`: a factory becomes a file that computes the same, or one paragraph and the right exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner, Result

import onnxprune
from onnxprune.cli.main import cli

FACTORIES = """
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 16), nn.Linear(16, 5)

    def forward(self, tokens):
        return self.head(self.embed(tokens).mean(1))


class Eigen(nn.Module):
    def forward(self, x):
        return torch.linalg.eig(x)[0].abs()


class FixedBatch(nn.Module):
    def forward(self, x):
        return x * int(x.shape[0])


def fails():
    raise ValueError("no such preset")


def number():
    return 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of factories of a name that no other test imports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"nets_{tmp_path.name}.py").write_text(FACTORIES, encoding="utf-8")
    return tmp_path


def invoke(folder: Path, factory: str, *words: object) -> Result:
    return CliRunner().invoke(cli, ["import", f"nets_{folder.name}:{factory}", *map(str, words)])


def test_a_factory_becomes_a_file_that_can_be_inspected(folder: Path) -> None:
    done = invoke(folder, "net", "--input", "image=1x3x8x8", "-o", "model.onnx", "--output-names", "logits", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["inputs"] == {"image": ["float32", ["batch", 3, 8, 8]]}
    assert said["outputs"] == {"logits": ["float32", ["batch", 4]]}
    assert said["macs"] == 8 * 27 * 36 + 288 * 4
    inspection = onnxprune.inspect(folder / "model.onnx")
    assert (inspection.macs, inspection.params) == (said["macs"], said["params"])
    assert len(inspection.groups) == 1


def test_the_file_is_named_after_the_factory_and_the_table_says_what_is_in_it(folder: Path) -> None:
    done = invoke(folder, "Words", "--input", "tokens=1x9:int64", "--dynamic", "tokens:1=sequence")
    assert done.exit_code == 0, done.output
    assert "tokens: int64 [batch, sequence]" in done.stdout
    session = onnxruntime.InferenceSession(folder / "Words.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"tokens": np.ones((3, 4), np.int64)})[0].shape == (3, 5)


def test_weights_come_from_safetensors(folder: Path) -> None:
    state = {"embed.weight": torch.ones(50, 16), "head.weight": torch.ones(5, 16), "head.bias": torch.zeros(5)}
    safetensors.torch.save_file(state, folder / "w.safetensors")
    done = invoke(folder, "Words", "--input", "tokens=1x9:int64", "--weights", "w.safetensors")
    assert done.exit_code == 0, done.output
    session = onnxruntime.InferenceSession(folder / "Words.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"tokens": np.ones((1, 9), np.int64)})[0].tolist() == [[16.0] * 5]


def test_a_fixed_batch_is_fixed(folder: Path) -> None:
    done = invoke(folder, "FixedBatch", "--input", "x=2x3", "--fixed-batch", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["inputs"] == {"x": ["float32", [2, 3]]}


@pytest.mark.parametrize(
    ("factory", "words", "code", "said"),
    [
        ("nothing", ("--input", "x=1x2"), 2, "has no 'nothing'"),
        ("fails", ("--input", "x=1x2"), 1, "ValueError: no such preset (nets_"),
        ("number", ("--input", "x=1x2"), 1, "returned a int; expected a torch.nn.Module"),
        ("net", (), 2, "--input is missing"),
        ("net", ("--input", "image=1x4x8x8"), 1, "to have 3 channels, but got 4"),
        ("net", ("--input", "image=1,3,8,8"), 2, "expected NAME=SHAPE"),
        ("net", ("--input", "image=1x3x8x8:float8"), 2, "no dtype 'float8'"),
        ("net", ("--input", "image=0x3x8x8"), 2, "a dimension of 0"),
        ("net", ("--input", "image=1x3x8x8", "--dynamic", "image:2"), 2, "expected NAME:AXIS=DIMENSION"),
        ("net", ("--input", "image=1x3x8x8", "--output-names", "a,b"), 2, "gives 1 outputs"),
        ("net", ("--input", "image=1x3x8x8", "--out", "away/x.onnx"), 1, "the folder away does not exist"),
        ("net", ("--input", "image=1x3x8x8", "--weights", "none.safetensors"), 1, "cannot be read as safetensors"),
        ("Eigen", ("--input", "x=1x3x3"), 1, "linalg_eig"),
        ("FixedBatch", ("--input", "x=2x3"), 4, "on 4 samples"),
    ],
)
def test_what_cannot_be_imported_is_one_paragraph_and_no_file(
    folder: Path, factory: str, words: tuple[str, ...], code: int, said: str
) -> None:
    done = invoke(folder, factory, "-q", *words)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert said in " ".join(done.stderr.split())
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(folder.glob("*.onnx")) == []


def test_weights_of_another_module_are_refused(folder: Path) -> None:
    safetensors.torch.save_file({"embed.weight": torch.ones(50, 16)}, folder / "w.safetensors")
    done = invoke(folder, "Words", "--input", "tokens=1x9:int64", "--weights", "w.safetensors")
    assert done.exit_code == 1
    assert "does not fit Words" in " ".join(done.stderr.split())


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save({"head.bias": torch.zeros(5)}, folder / "w.pt")
    done = invoke(folder, "Words", "--input", "tokens=1x9:int64", "--weights", "w.pt")
    assert done.exit_code == 1
    assert "pickled files are not read" in " ".join(done.stderr.split())
