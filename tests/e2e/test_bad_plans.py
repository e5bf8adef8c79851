"""Plans that a user can get wrong: one paragraph, exit code 1 or 5, nothing half-written."""

from __future__ import annotations

import json

import onnx
import pytest
from bridging import convnet
from click.testing import CliRunner

import onnxprune
from onnxprune.cli.main import cli
from onnxprune.report.schema import read_report

pytestmark = pytest.mark.usefixtures("quick_latency")


@pytest.fixture(scope="module")
def plan_text():
    """A plan for half of the net's MACs."""
    return onnxprune.plan(convnet(), flops=0.5, pattern="both", block="2x4", align=1, block_sparse="never").to_json()


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "in" / "net.onnx"
    path.parent.mkdir()
    onnx.save(convnet(), path)
    return path


def _run(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


def _apply(net, text, *further):
    """Carries out a plan of the given text, or bytes; its output goes into a folder of its own."""
    plan, out = net.with_name("plan.json"), net.parent.parent / "out"
    plan.write_bytes(text if isinstance(text, bytes) else text.encode())
    out.mkdir()
    return _run("apply", net, plan, "-o", out / "slim.onnx", *further), out


def _changed(plan_text, net, **parts):
    """The plan for the file at hand, with parts of it replaced."""
    content = json.loads(plan_text)
    shown = json.loads(_run("show", net, "--json").stdout)
    return json.dumps(content | {"model_sha256": shown["sha256"]} | parts)


def _refused(outcome, code, *words):
    assert outcome.exit_code == code, outcome.output
    said = " ".join(outcome.stderr.split())
    assert "Traceback" not in outcome.output
    assert said.count("error:") == 1
    assert outcome.stdout == ""
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no text"),
        (b"{", "no JSON"),
        (b"[1, 2]", "'onnxprune_plan' is missing"),
        (b'{"onnxprune_plan": 99, "groups": []}', "version 99; this onnxprune reads version 1"),
        (b'{"onnxprune_plan": 1, "groups": []}', "'model_sha256' is missing"),
        (b'{"onnxprune_plan": 1, "model_sha256": "", "options": {}}', "'groups' is missing"),
        (b'{"schema_version": 1, "command": "onnxprune compress"}', "'onnxprune_plan' is missing"),
    ],
    ids=["empty", "bytes", "cut short", "list", "version", "no hash", "no groups", "a report"],
)
def test_what_is_no_plan_is_refused_before_the_model_is_read(net, text, word):
    outcome, out = _apply(net, text)
    _refused(outcome, 1, "plan.json", word)
    assert list(out.iterdir()) == []


def test_a_plan_that_is_not_there(net, tmp_path):
    _refused(_run("apply", net, tmp_path / "none.json", "-o", tmp_path / "s.onnx"), 1, "none.json: cannot be read")
    _refused(_run("apply", net, net.parent, "-o", tmp_path / "s.onnx"), 1, "cannot be read")


@pytest.mark.parametrize(
    ("groups", "word"),
    [
        (lambda g: [g[0] | {"kept": [0, 0, 1]}, *g[1:]], "must be ascending"),
        (lambda g: [g[0] | {"kept": [1, 0]}, *g[1:]], "must be ascending"),
        (lambda g: [g[0] | {"kept": []}, *g[1:]], "at least one"),
        (lambda g: [g[0] | {"kept": [0, g[0]["size"]]}, *g[1:]], "within 0.."),
        (lambda g: [g[0] | {"kept": [-1]}, *g[1:]], "within 0.."),
        (lambda g: [g[0] | {"kept": ["0"]}, *g[1:]], "'0' is no whole number"),
        (lambda g: [g[0] | {"size": g[0]["size"] + 1}, *g[1:]], "in the model"),
        (lambda g: g[1:], "it says nothing of group"),
        (lambda g: [*g, g[0]], "it is there twice"),
        (lambda g: [*g, {"name": "stranger", "size": 4, "kept": [0]}], "the model has no group 'stranger'"),
        (lambda g: [*g, {"name": "gemm_10", "size": 5, "kept": [0]}], "which stay as they are in this model"),
    ],
    ids=["twice", "order", "none", "beyond", "below", "text", "size", "missing", "again", "unknown", "frozen"],
)
def test_groups_that_do_not_fit_are_refused(net, plan_text, groups, word):
    listed = groups(json.loads(plan_text)["groups"])
    outcome, out = _apply(net, _changed(plan_text, net, groups=listed, tiles={}))
    _refused(outcome, 1, "plan.json", word)
    assert not (out / "slim.onnx").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda layer: {"inputs": 64, "outputs": 64, "kept": [[0]] * 16}, "inputs and 64 outputs, and the weight has"),
        (lambda layer: {"node": "nowhere"}, "the model has no such layer"),
        (lambda layer: {"kept": [[0], [0, 1]]}, "equally many blocks"),
        (lambda layer: {"kept": [[0.0]]}, "0.0 is no whole number"),
        (lambda layer: {"surprise": 1}, "Not a tiled layer"),
    ],
    ids=["lengths", "node", "uneven", "float", "key"],
)
def test_tiles_that_do_not_fit_are_refused(net, plan_text, change, word):
    tiles = json.loads(plan_text)["tiles"]
    tiles["layers"][0] |= change(tiles["layers"][0])
    outcome, out = _apply(net, _changed(plan_text, net, tiles=tiles))
    _refused(outcome, 1, "plan.json", word)
    assert not (out / "slim.onnx").exists()


def test_a_plan_for_another_model_and_one_that_is_too_large(net, plan_text):
    outcome, out = _apply(net, plan_text.replace('"model_sha256": "', '"model_sha256": "0000'))
    _refused(outcome, 1, "was made for a model whose SHA-256 is 0000", "--other-weights")
    assert list(out.iterdir()) == []
    plan = net.with_name("plan.json")
    plan.write_text(_changed(plan_text, net))
    over = _run("apply", net, plan, "-o", out / "slim.onnx", "--flops", "0.3")
    _refused(over, 5, "does not meet the budget --flops", "make another plan")
    assert not (out / "slim.onnx").exists()
    report = read_report(out / "slim.report.json")
    assert (report.status, report.failure.exit_code) == ("failed", 5)
    assert report.plan.file.endswith("plan.json")


def test_planning_refuses_what_compressing_refuses(net, tmp_path):
    out = tmp_path / "plan.json"
    _refused(_run("plan", tmp_path / "none.onnx", "--flops", "0.5", "-o", out), 1, "none.onnx")
    _refused(_run("plan", net, "--flops", "0.0001", "-o", out), 5, "reach")
    _refused(_run("plan", net, "--flops", "0.5", "-o", tmp_path / "no" / "plan.json"), 1, "does not exist")
    _refused(_run("plan", net, "--flops", "0.5", "--criterion", "tailor", "-o", out), 2, "taylor")
    assert not out.exists()


def test_the_three_commands_lead_from_a_recipe_to_a_model(net):
    recipe, plan, slim = (net.with_name(name) for name in ("recipe.toml", "plan.json", "slim.onnx"))
    assert _run("recipe", "--init", net, "-o", recipe).exit_code == 0
    recipe.write_text(recipe.read_text().replace('#flops = ""', "flops = 0.5"))
    assert _run("recipe", "--check", recipe).exit_code == 0
    planned = _run("plan", "--recipe", recipe, "-o", plan)
    assert planned.exit_code == 0, planned.output
    applied = _run("apply", net, plan, "--recipe", recipe, "-o", slim)
    assert applied.exit_code == 0, applied.output
    again = _run("compress", "--recipe", recipe, "-o", net.with_name("again.onnx"))
    assert again.exit_code == 0, again.output
    assert slim.read_bytes() == net.with_name("again.onnx").read_bytes()
