"""A few architectures of the zoo, exported here and now; run_zoo.py runs them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import ARCHITECTURES
from export import EXPORTERS, export
from measure import measure
from run_zoo import BUDGET
from table import HEAD, table

pytest.importorskip("onnxscript", reason="torch's ONNX exporter needs onnxscript")
pytestmark = pytest.mark.slow

# architecture → groups and channels, counted by hand; Torch-Pruning 1.6 finds the same in resnet18 and densenet121
OWN = {"unet": (11, 704), "attention_unet": (13, 768), "yolo": (59, 4864), "wavenet": (7, 256), "tcn": (6, 208)}
TORCHVISION = {
    "resnet18": (12, 2880),
    "densenet121": (120, 10240),
    "shufflenet_v2": (31, 3534),
    "regnet_x_400mf": (71, 1772),
}
TRANSFORMERS = {"bert_eager": (9, 392)}


def check(name: str, exporter: str, counts: tuple[int, int], folder: Path) -> None:
    """Exports, prunes to half, and checks what was found and reached; a failed certificate raises."""
    path = folder / "model.onnx"
    export(name, exporter, path)
    record = measure(path, BUDGET)
    assert (record["groups"], record["channels"]) == counts
    assert 0.98 * BUDGET <= record["macs_share"] <= BUDGET
    assert max(record["worst"]) <= 1e-4
    assert record["batches"] == [1, 3]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", OWN)
def test_own_nets_are_pruned_exactly(name, exporter, tmp_path):
    check(name, exporter, OWN[name], tmp_path)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_nets_are_pruned_exactly(name, exporter, tmp_path):
    pytest.importorskip("torchvision", reason="torchvision, whose nets these are, is not installed")
    check(name, exporter, TORCHVISION[name], tmp_path)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_are_pruned_exactly(name, exporter, tmp_path):
    pytest.importorskip("transformers", reason="transformers, whose nets these are, is not installed")
    check(name, exporter, TRANSFORMERS[name], tmp_path)


def test_the_zoo_holds_what_it_promises():
    assert len(ARCHITECTURES) >= 45


def test_table_names_a_failure_and_escapes_its_bars():
    failed = {"name": "net", "exporter": "dynamo", "asked": BUDGET, "step": "measure", "failure": "a | b"}
    cells = table([failed]).splitlines()[-1].replace("\\|", "").split("|")
    assert len(cells) == len(HEAD) + 2
    assert cells[-2].strip() == "a  b"
