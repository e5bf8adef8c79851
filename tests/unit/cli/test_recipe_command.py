"""`onnxprune recipe`: a file with every option, and checks that run nothing."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import click
import numpy as np
import onnx
import pytest
from bridging import convnet
from click.testing import CliRunner

import onnxprune
from onnxprune.cli.compress import compress
from onnxprune.cli.main import cli
from onnxprune.cli.recipe_file import recipe_text
from onnxprune.recipe import Planning, Recipe

NOWHERE = "flops = 0.5\nmodel = 'none.onnx'\ndata = 'd.npz'\nplan = 'p.json'\n"
SETTING = re.compile(r"^#(?=\w+ = )", re.MULTILINE)


def _run(*words):
    return CliRunner().invoke(cli, ["recipe", *map(str, words)])


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(convnet(), path)
    return path


@pytest.fixture
def written(net):
    """Writes a recipe beside the net and gives its path."""

    def write(text, name="recipe.toml"):
        path = net.with_name(name)
        path.write_text(text)
        return path

    return write


def test_every_option_with_its_line_uncommented_is_the_default(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(SETTING.sub("", recipe_text(compress)))
    content = tomllib.loads(path.read_text())
    assert set(content) == set(Recipe.model_fields)
    given = {"model": "net.onnx", "flops": 0.5}
    assert Recipe.from_toml(path, given) == Recipe.from_mapping(given)


def test_the_file_as_written_sets_nothing_but_the_model(net):
    outcome = _run("--init", net, "-o", net.with_name("r.toml"))
    assert outcome.exit_code == 0, outcome.output
    assert tomllib.loads(net.with_name("r.toml").read_text()) == {"model": "net.onnx"}
    assert Recipe.from_toml(net.with_name("r.toml"), {"flops": 0.5}) == Recipe(model=net, flops=0.5)


def test_paths_start_from_the_folder_of_the_file(net, monkeypatch):
    (net.parent / "recipes").mkdir()
    monkeypatch.chdir(net.parent)
    assert _run("--init", "net.onnx", "-o", "recipes/r.toml").exit_code == 0
    assert Recipe.from_toml("recipes/r.toml", {"flops": 0.5}).model.resolve() == net
    assert _run("--init").exit_code == 0
    assert tomllib.loads(Path("recipe.toml").read_text()) == {}


@pytest.mark.parametrize("name", sorted(Recipe.model_fields))
def test_every_option_comes_with_what_the_command_says_of_it(name):
    lines = recipe_text(compress).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f"#{name} = "))
    start = max(i for i in range(place) if not lines[i])
    said = " ".join(line.removeprefix("# ") for line in lines[start + 1 : place])
    helps = {param.name: param.help or "" for param in compress.params if isinstance(param, click.Option)}
    told = re.sub(r"\s*\[default:.*?\]", "", helps.get(name, "The model to compress."))
    assert said.startswith(told.rstrip("."))


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("phases", "A whole number at least 1."),
        ("val_share", "A number above 0 and below 1."),
        ("pattern", 'One of "channels", "tiles", "both".'),
        ("align", '"auto" or a whole number.'),
        ("permute", "True or false."),
        ("flops", "A share, a percentage, or a figure with its unit."),
        ("lr", "A number above 0. If not set: the optimizer's."),
        ("gates", "A list."),
    ],
)
def test_domains_are_those_of_the_recipe(name, domain):
    text = " ".join(line.removeprefix("# ") for line in recipe_text(compress).splitlines())
    assert re.search(rf"{re.escape(domain)} #{name} = ", text)


def test_a_file_is_overwritten_only_when_that_is_asked_for(net):
    path = net.with_name("recipe.toml")
    path.write_text("flops = 0.5\n")
    refused = _run("--init", "-o", path)
    assert refused.exit_code == 1
    assert "exists already. Add --force" in " ".join(refused.stderr.split())
    assert path.read_text() == "flops = 0.5\n"
    assert json.loads(_run("--init", "-o", path, "--force", "--json").stdout) == {"recipe": str(path)}
    assert "#flops" in path.read_text()


def test_a_recipe_in_order_is_shown_with_what_it_sets(written):
    path = written('model = "net.onnx"\nflops = "40%"\ngates = ["speedup>=1.2"]\nlr = ""\n')
    outcome = _run("--check", path)
    assert outcome.exit_code == 0, outcome.output
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert 'flops "0.4"' in lines
    assert 'gates ["speedup>=1.2"]' in lines
    assert not any(line.startswith("lr") for line in lines)
    assert "In order; nothing is left open." in lines
    printed = json.loads(_run("--check", path, "--json").stdout)
    assert printed["options"] == {"model": str(path.with_name("net.onnx")), "flops": "0.4", "gates": ["speedup>=1.2"]}
    assert printed["left_open"] == []


def test_what_the_command_line_has_to_give_is_named(written, net):
    path = written("seed = 3\n")
    outcome = _run("--check", path)
    assert outcome.exit_code == 0, outcome.output
    assert "Left open, to be given on the command line: MODEL, a budget." in outcome.stdout
    assert json.loads(_run("--check", path, net, "--json").stdout)["left_open"] == ["a budget"]
    assert json.loads(_run("--check", written("flops = [0.7, 0.5]\n"), net, "--json").stdout) == {
        "recipe": str(path),
        "options": {"flops": [0.7, 0.5], "model": str(net)},
        "left_open": [],
        "notes": [],
    }
    zeros = written('pattern = "tiles"\nblock = "2:4"\n')
    assert json.loads(_run("--check", zeros, net, "--json").stdout)["left_open"] == []


def test_code_that_was_not_loaded_is_named(written, net):
    path = written('flops = 0.5\ndata = "no_such.module:batches"\nloss = "no_such.module:loss"\n')
    outcome = _run("--check", path, net)
    assert outcome.exit_code == 0, outcome.output
    assert "Your code was not loaded: data no_such.module:batches, loss no_such.module:loss." in outcome.stdout


@pytest.mark.parametrize(
    ("text", "code", "messages"),
    [
        ("flops = 0.5\nbatchsize = 3\n", 2, ["no option 'batchsize'", "Did you mean batch_size"]),
        ("flops = 0.5\nseed = 'x'\nbatch_size = 0\n", 2, ["--seed x", "--batch-size 0"]),
        ("flops = 0.5\nphases = 2\n", 2, ["--phases 2 retrains between cuts"]),
        ("flops = 0.5\nallocator = 'unifrom'\n", 2, ["unifrom", "uniform"]),
        ("flops = 0.5\ncriterion = 'tailor'\n", 2, ["tailor", "taylor"]),
        ("flops = [0.5, 0.4]\nparams = [0.5, 0.4, 0.3]\n", 2, ["--flops lists 2, --params lists 3"]),
        ("flops = 0.5\nother_weights = true\n", 2, ["--other-weights speaks of a plan"]),
        ("flops = 0.5\nplan = ''\nresume = true\n", 2, ["--resume goes on with a run"]),
        ("flops = \n", 1, ["not TOML"]),
        (NOWHERE, 1, ["none.onnx: there is no such", "d.npz", "p.json"]),
        ("flops = 0.5\nout = 'no/folder/slim.onnx'\n", 1, ["no/folder does not exist"]),
        ("flops = 0.5\nmodel = 'broken.onnx'\n", 1, ["broken.onnx"]),
        ("plan = 'broken.onnx'\n", 1, ["broken.onnx: Not an onnxprune plan"]),
    ],
)  # fmt: skip
def test_a_recipe_out_of_order_says_what_is_wrong(written, net, text, code, messages):
    net.with_name("broken.onnx").write_bytes(b"no model")
    outcome = _run("--check", written(text))
    assert outcome.exit_code == code, outcome.output
    assert outcome.stdout == ""
    said = " ".join(outcome.stderr.split())
    assert all(message in said for message in messages), said


def test_a_plan_for_another_model_is_found(written, net):
    onnxprune.plan(net, flops=0.5, out=net.with_name("plan.json"))
    path = written('model = "net.onnx"\nplan = "plan.json"\n')
    assert _run("--check", path).exit_code == 0
    onnx.save(convnet(seed=5), net)
    outcome = _run("--check", path)
    assert outcome.exit_code == 1
    assert "--other-weights" in outcome.stderr
    assert _run("--check", written('model = "net.onnx"\nplan = "plan.json"\nother_weights = true\n')).exit_code == 0


def test_checking_runs_nothing_and_leaves_nothing(written, net):
    np.save(net.with_name("d.npy"), np.zeros((4, 3, 8, 8), np.float32))
    before = sorted(net.parent.iterdir())
    path = written('model = "net.onnx"\nflops = 0.5\ndata = "d.npy"\nrun_dir = "run"\n')
    assert _run("--check", path).exit_code == 0
    assert sorted(net.parent.iterdir()) == sorted([*before, path])


@pytest.mark.parametrize(
    "words",
    [(), ("--init", "--check", "r.toml"), ("--check", "r.toml", "-o", "x.toml"), ("--check", "r.toml", "--force")],
    ids=str,
)
def test_calls_that_ask_for_two_things_or_none_are_refused(words):
    assert _run(*words).exit_code == 2


def test_a_model_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    outcome = _run("--init", tmp_path / "none.onnx", "-o", tmp_path / "r.toml")
    assert outcome.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_text_in_a_file_is_an_option_that_is_not_set(written):
    path = written('model = "net.onnx"\nflops = 0.5\ndata = ""\nimage-mean = ""\n')
    assert Recipe.from_toml(path) == Recipe(model=path.with_name("net.onnx"), flops=0.5)
    assert Planning.from_toml(path).data is None
