"""A few architectures of the zoo, exported here and now; run_zoo.py runs them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import ARCHITECTURES
from bridge_check import check_bridge
from bridge_table import HEAD as BRIDGE_HEAD
from bridge_table import bridge_page, is_sound
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


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", OWN)
def test_own_nets_become_sound_modules_in_one_graph(name, exporter, tmp_path):
    path = tmp_path / "model.onnx"
    export(name, exporter, path)
    found = check_bridge(path)
    assert is_sound(found)
    assert found["still"] == []
    assert found["compiles"], found["reason"]


def test_the_zoo_holds_what_it_promises():
    assert len(ARCHITECTURES) >= 45


def test_table_names_a_failure_and_escapes_its_bars():
    failed = {"name": "net", "exporter": "dynamo", "asked": BUDGET, "step": "measure", "failure": "a | b"}
    cells = table([failed]).splitlines()[-1].replace("\\|", "").split("|")
    assert len(cells) == len(HEAD) + 2
    assert cells[-2].strip() == "a  b"


LOST: dict[str, list[str]] = {"missing": [], "broken": [], "still": []}
SOUND = {"parity": [1e-7, 2e-7], "parameters": 3, **LOST, "fixed": {"scales": 4}, "compiles": True}


@pytest.mark.parametrize(
    "change", [{"parity": [1e-7, 2e-5]}, {"missing": ["w"]}, {"broken": ["w"]}, {"parity": [float("nan")]}]
)
def test_a_module_is_not_sound_when_it_deviates_or_a_gradient_is_lost(change):
    assert is_sound(SOUND)
    assert not is_sound(SOUND | change)


def test_the_page_of_modules_counts_and_names_what_is_lost():
    broken = SOUND | {"missing": ["w1", "w2", "w3", "w4"], "parameters": 4, "compiles": False, "reason": "a | b"}
    names = {"exporter": "dynamo", "asked": BUDGET}
    page = bridge_page(
        [
            {"name": "good", **names, "bridge": SOUND},
            {"name": "bad", **names, "bridge": broken},
            {"name": "odd", **names, "bridge": {"failure": "no counterpart"}},
            {"name": "unread", **names, "step": "export", "failure": "export: no"},
            {"name": "later", **names},
        ]
    )
    assert "| parameters with a finite gradient | 3 of 7 |" in page
    assert "Not measured: later (dynamo)." in page
    assert "| compiled in one graph | 1 of 2 |" in page
    rows = [row.replace("\\|", "").split("|") for row in page.splitlines()[-4:]]
    assert all(len(row) == len(BRIDGE_HEAD) + 2 for row in rows)
    assert rows[1][5:-1] == [
        " 0 of 4 ",
        " 4 ",
        " no ",
        " no gradient: `w1`, `w2`, `w3` and 1 more; held fixed: `scales`; a  b ",
    ]
    assert [row[-2].strip() for row in rows[2:]] == ["no counterpart", "export: no"]
