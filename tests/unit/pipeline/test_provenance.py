"""What a written model says of where it comes from."""

from __future__ import annotations

import json

import onnx
import pytest
from bridging import convnet, labelled
from click.testing import CliRunner

import onnxprune
from onnxprune import pipeline
from onnxprune.cli.main import cli
from onnxprune.core.errors import ModelError
from onnxprune.core.provenance import Provenance


@pytest.fixture
def made(tmp_path, quick_latency):
    proto = convnet()
    proto.metadata_props.add(key="owner", value="us")
    onnx.save(proto, tmp_path / "net.onnx")
    onnxprune.compress(tmp_path / "net.onnx", flops=0.5, allocator="global", out=tmp_path / "slim.onnx")
    return tmp_path


def test_pairs_are_read_as_they_were_written():
    full = Provenance("1.2", "compress", "aa", "bb", "flops 0.5", ("cc", "dd"))
    assert Provenance.of_metadata({"owner": "us"} | full.to_metadata()) == full
    bare = Provenance("1.2", "retrain", "aa", "bb")
    assert Provenance.of_metadata(bare.to_metadata()) == bare
    assert Provenance.of_metadata({"owner": "us"}) is None


def test_a_slim_model_says_what_made_it_and_keeps_what_it_said(made):
    found = pipeline.show(made / "slim.onnx", made / "net.onnx")
    assert found.provenance.version == onnxprune.__version__
    assert found.provenance.budgets == "flops 0.5"
    assert found.provenance.command == "compress"
    assert found.provenance.lineage == ()
    assert {p.key: p.value for p in onnx.load(made / "slim.onnx").metadata_props}["owner"] == "us"
    assert pipeline.show(made / "net.onnx").provenance is None


def test_what_is_made_of_a_slim_model_remembers_the_first(made):
    onnxprune.retrain(
        made / "slim.onnx", made / "net.onnx", data=labelled(64), epochs=1, batch_size=32, out=made / "again.onnx"
    )
    first, second = pipeline.show(made / "net.onnx"), pipeline.show(made / "slim.onnx")
    found = pipeline.show(made / "again.onnx", made / "net.onnx").provenance
    assert (found.command, found.source, found.lineage) == ("retrain", second.sha256, (first.sha256,))
    assert found.budgets == ""


def test_a_recipe_is_known_by_what_a_result_depends_on(made):
    def recipe_of(name, **options):
        given = {"flops": 0.5, "allocator": "global"} | options
        onnxprune.compress(made / "net.onnx", **given, out=made / name)
        return pipeline.show(made / name).provenance.recipe

    first = pipeline.show(made / "slim.onnx").provenance.recipe
    assert recipe_of("other.onnx", report=made / "elsewhere.json") == first
    assert (made / "other.onnx").read_bytes() == (made / "slim.onnx").read_bytes()
    assert recipe_of("third.onnx", seed=1) != first


def test_a_model_of_another_source_is_refused(made):
    onnx.save(convnet(seed=5), made / "stranger.onnx")
    with pytest.raises(ModelError, match=r"slim\.onnx: was not made from .*stranger\.onnx"):
        pipeline.show(made / "slim.onnx", made / "stranger.onnx")
    with pytest.raises(ModelError, match="does not say what it was made from"):
        pipeline.show(made / "net.onnx", made / "slim.onnx")


def test_the_command_shows_it(made):
    shown = CliRunner().invoke(cli, ["show", str(made / "slim.onnx")])
    assert shown.exit_code == 0
    assert f"onnxprune {onnxprune.__version__} compress" in shown.stdout
    assert "flops 0.5" in shown.stdout
    printed = json.loads(CliRunner().invoke(cli, ["show", str(made / "slim.onnx"), "--json"]).stdout)
    assert printed["provenance"]["source"] == pipeline.show(made / "net.onnx").sha256
    plain = CliRunner().invoke(cli, ["show", str(made / "net.onnx")])
    assert "not by onnxprune" in plain.stdout
    wrong = CliRunner().invoke(cli, ["show", str(made / "net.onnx"), "--source", str(made / "slim.onnx")])
    assert wrong.exit_code != 0
