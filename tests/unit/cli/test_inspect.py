"""`onnxprune inspect` end to end: tables, JSON, drawing."""

from __future__ import annotations

import dataclasses
import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from click.testing import Result as Outcome
from graphs import model_of
from rich.console import Console

import onnxprune
from onnxprune.cli.inspection import render_inspection
from onnxprune.cli.main import cli
from onnxprune.core.group import FrozenAxis, Group, Member
from onnxprune.core.result import Inspection, Prunable

BLOCK = """g (float[N,5,12] x, float[12,16] w1, float[16] s, float[16] b, float[16,24] w2, float[24,16] w3,
   float[16,4] w4) => (float[N,5,4] y) {
  a = MatMul(x, w1)
  n = LayerNormalization<axis=-1>(a, s, b)
  h = MatMul(n, w2)
  r = Relu(h)
  o = MatMul(r, w3)
  t = Add(a, o)
  y = MatMul(t, w4)
}"""
PARAMS = 12 * 16 + 16 + 16 + 16 * 24 + 24 * 16 + 16 * 4


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """Returns the path of a transformer block."""
    path = tmp_path / "block.onnx"
    onnx.save(model_of(BLOCK), path)
    return path


@pytest.fixture
def inspect(block: Path) -> Callable[..., Outcome]:
    """Inspects the block through the command line."""

    def call(*arguments: str) -> Outcome:
        outcome = CliRunner().invoke(cli, ["inspect", str(block), *arguments])
        assert outcome.exit_code == 0, outcome.output
        return outcome

    return call


def shown(inspection: Inspection, width: int = 120, verbose: bool = False) -> str:
    """Returns what a terminal of some width shows."""
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(render_inspection(inspection, verbose=verbose))
    return capture.get()


def inspection_of(**fields: Any) -> Inspection:
    """Returns an inspection with the given fields."""
    plain: dict[str, Any] = {"model": "net.onnx", "inputs": {}, "outputs": {}, "opset": 20, "macs": 1e6, "params": 1e3}
    plain |= {"size_bytes": 4000, "groups": (), "group_macs": {}, "frozen": (), "reachable": {}, "unknown_ops": {}}
    return Inspection(**(plain | fields))


def test_table_shows_shares_and_the_way_to_each_reason(inspect: Callable[..., Outcome]) -> None:
    words = " ".join(inspect().stdout.split())
    share = f"{100 * 768 / PARAMS:.1f} %"
    for part in (
        f"prunable params {share} on channels that can go",
        f"matmul_2 24 75.0 % {share} written by matmul_2; read by matmul_4",
        "matmul_0 → LayerNormalization 'layernormalization_1' takes statistics over this axis 16",
        "matmul_6 → output 'y' of the model 4",
        "matmul_0 ← input 'x' of the model 12",
    ):
        assert part in words


def test_json_is_complete_and_its_shares_add_up(inspect: Callable[..., Outcome], block: Path) -> None:
    content = json.loads(inspect("--json").stdout)
    assert set(content) == {field.name for field in dataclasses.fields(Inspection)}
    assert content["model"] == str(block)
    assert content["inputs"] == {"x": ["float32", ["N", 5, 12]]}
    assert content["params"] == PARAMS
    assert content["prunable"] == {
        "flops": {"exact": pytest.approx(0.75), "approximate": None},
        "params": {"exact": pytest.approx(768 / PARAMS), "approximate": None},
    }
    (group,) = content["groups"]
    assert (group["name"], group["size"], group["multiple"], group["approximate"]) == ("matmul_2", 24, 1, "")
    assert content["group_macs"] == {"matmul_2": pytest.approx(0.75)}
    assert content["group_params"] == {"matmul_2": pytest.approx(768 / PARAMS)}
    assert content["reachable"]["params"] == [pytest.approx((PARAMS - 768 + 32) / PARAMS), 1.0]
    for axis in content["frozen"]:
        assert set(axis) == {field.name for field in dataclasses.fields(FrozenAxis)}
        assert set(axis["members"][0]) == {field.name for field in dataclasses.fields(Member)}
        assert len(axis["chains"]) == len(axis["reasons"]) > 0
        assert all(chain.endswith(why) for chain, why in zip(axis["chains"], axis["reasons"], strict=True))


def test_approximate_inspection_gives_both_shares(inspect: Callable[..., Outcome]) -> None:
    exact = json.loads(inspect("--json").stdout)["prunable"]
    both = json.loads(inspect("--json", "--approximate").stdout)["prunable"]
    for resource in ("flops", "params"):
        assert both[resource]["exact"] == pytest.approx(exact[resource]["exact"])
        assert both[resource]["approximate"] == pytest.approx(1.0)
    words = " ".join(inspect("--approximate").stdout.split())
    assert "on channels that can go exactly, 100.0 % with approximate ones" in words
    assert "approximate: LayerNormalization 'layernormalization_1' takes statistics over this axis" in words


def test_graph_is_drawn_beside_the_table(inspect: Callable[..., Outcome], tmp_path: Path) -> None:
    place = tmp_path / "out.svg"
    outcome = inspect("--graph", str(place))
    assert f"drawing {place}" in " ".join(outcome.stdout.replace("\n", "").split())
    root = ET.parse(place).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "block.onnx" in "".join(root.itertext())
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("block.onnx", "out.svg")] == []


def test_json_with_a_graph_is_still_json(inspect: Callable[..., Outcome], tmp_path: Path) -> None:
    assert json.loads(inspect("--json", "--graph", str(tmp_path / "out.svg")).stdout)["opset"] == 18
    assert (tmp_path / "out.svg").exists()


def test_same_graph_through_the_python_call(block: Path, inspect: Callable[..., Outcome], tmp_path: Path) -> None:
    inspect("--graph", str(tmp_path / "a.svg"))
    onnxprune.inspect(block, graph=tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(("place", "message"), [("missing/out.svg", "does not exist"), (".", "is a folder")])
def test_bad_place_for_the_graph_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(cli, ["inspect", "no-such-model.onnx", "--graph", place])
    assert outcome.exit_code == 1
    assert message in " ".join(outcome.stderr.split())
    assert outcome.stdout == ""
    assert os.listdir(tmp_path) == []


def test_many_members_are_counted_unless_all_are_asked_for() -> None:
    members = tuple(Member(f"w{i}", 0, "producer", "Conv", f"conv_{i}", 1) for i in range(7))
    inspection = inspection_of(groups=(Group("conv_0", 16, members),))
    assert "written by 7 nodes" in shown(inspection)
    assert "written by conv_0, conv_1, conv_2, conv_3" in " ".join(shown(inspection, verbose=True).split())


def test_long_names_of_members_are_cut_in_front() -> None:
    name = "/model/encoder/layers.0/attention/self/query/MatMul"
    inspection = inspection_of(groups=(Group("g", 16, (Member("w", 0, "producer", "MatMul", name, 1),)),))
    assert "written by …s.0/attention/self/query/MatMul" in shown(inspection)
    assert name in shown(inspection, verbose=True)


def test_many_frozen_axes_are_summed_up_unless_all_are_asked_for() -> None:
    frozen = tuple(
        FrozenAxis(f"conv_{i}", 100 - i, (), (f"Odd 'odd_{i}' has no axis rule",), (f"conv_{i} → Odd 'odd_{i}' …",))
        for i in range(20)
    )
    folded = " ".join(shown(inspection_of(frozen=frozen)).split())
    assert "conv_11 → Odd" in folded
    assert "conv_12 →" not in folded
    assert f"… and 8 more reasons; -v shows all {sum(range(81, 89))}" in folded
    assert "conv_19 → Odd 'odd_19' … 81" in " ".join(shown(inspection_of(frozen=frozen), verbose=True).split())


def test_weights_that_share_their_reasons_share_a_row() -> None:
    reasons = ("Odd 'odd' has no axis rule",)
    frozen = tuple(FrozenAxis(f"conv_{i}", 8, (), reasons, (f"conv_{i} → {reasons[0]}",)) for i in range(9))
    words = " ".join(shown(inspection_of(frozen=frozen)).split())
    assert "conv_0 → Odd 'odd' has no axis rule 72 likewise conv_1, conv_2, conv_3 and 5 more" in words


def test_many_reasons_of_one_axis_are_counted_unless_all_are_asked_for() -> None:
    chains = tuple(f"conv_0 → Softmax 's{i}' normalises over this axis" for i in range(6))
    inspection = inspection_of(frozen=(FrozenAxis("conv_0", 8, (), chains, chains),))
    words = " ".join(shown(inspection).split())
    assert "Softmax 's1'" in words
    assert "Softmax 's2'" not in words
    assert "… and 4 more reasons" in words
    assert "Softmax 's5'" in shown(inspection, verbose=True)


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(width: int) -> None:
    name = "/model/encoder/layers.0/attention/self/query/MatMul"
    members = tuple(Member("w", 0, role, "MatMul", name, 1) for role in ("producer", "consumer"))
    inspection = inspection_of(
        groups=(Group(name, 4096, members, multiple=64, approximate="; ".join([f"LayerNormalization '{name}'"] * 5)),),
        group_macs={name: 1.0},
        group_params={name: 1.0},
        frozen=(
            FrozenAxis(name, 4096, members, ("why",), (f"{name} → Add → LayerNormalization '{name}' normalises",)),
        ),
        prunable={"flops": Prunable(0.5, 0.75)},
    )
    lines = shown(inspection, width).splitlines()
    assert max(map(len, lines)) <= width
    text = "".join(line.strip() for line in lines)
    assert "4096" in text
    assert "100.0 %" in text
