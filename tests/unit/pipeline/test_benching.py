"""`bench`: conditions, figures and what is said where nothing can be measured."""

from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from graphs import model_of
from rich.console import Console

import onnxprune
from onnxprune.cli.main import cli
from onnxprune.core.errors import InputError, ModelError, OutputError, UsageError
from onnxprune.pipeline import timing_point
from onnxprune.report import timing_schema
from onnxprune.report.timing_schema import TimingReport, timing_schema_text
from onnxprune.report.timing_tables import render_timing
from onnxprune.runtime.energy import Energy
from onnxprune.runtime.fresh_start import fresh_starts
from onnxprune.runtime.node_times import profile_nodes
from onnxprune.runtime.session import make_session
from onnxprune.runtime.throughput import throughput

SMALL = "g (float[N, S, 8] x, float[8, 8] w) => (float[N, S, 8] y) { y = MatMul(x, w) }"
LARGE = """g (float[N, S, 8] x, float[8, 8] w) => (float[N, S, 8] y) {
    a = MatMul(x, w)
    b = MatMul(a, w)
    y = Relu(b)
}"""
FIXED = "g (float[2, 8] x, float[8, 8] w) => (float[2, 8] y) { y = MatMul(x, w) }"
OTHER = "g (float[N, 8] z, float[8, 8] w) => (float[N, 8] y) { y = MatMul(z, w) }"
QUICK = {"seconds": 0.1, "repeats": 5, "starts": 0, "threads": 1, "providers": "cpu"}


@pytest.fixture
def files(tmp_path):
    for name, text in (("small", SMALL), ("large", LARGE), ("fixed", FIXED), ("other", OTHER)):
        onnx.save(model_of(text), tmp_path / f"{name}.onnx")
    return tmp_path


def test_every_combination_of_conditions_is_measured(files):
    found = onnxprune.bench(
        [files / "small.onnx", files / "large.onnx"],
        **QUICK | {"threads": (1, 2), "seconds": 0.02},
        batch=(1, 3),
        dims={"S": (4, 16)},
    )
    conditions = [(p.provider, p.threads, p.batch, p.dims["S"]) for p in found.points]
    assert conditions == [("cpu", t, b, s) for t in (1, 2) for b in (1, 3) for s in (4, 16)]
    for point in found.points:
        first, second = point.models
        assert (first.name, second.name) == ("small.onnx", "large.onnx")
        assert first.ratio is None
        assert second.ratio.low <= second.ratio.ratio <= second.ratio.high
        assert 0 < first.latency.p50_us <= first.latency.p90_us <= first.latency.p99_us
        assert not point.resident


def test_a_provider_that_does_not_work_here_is_said_and_the_others_are_measured(files, monkeypatch):
    monkeypatch.setattr("onnxprune.runtime.providers.is_usable", lambda name: name == "CPUExecutionProvider")
    found = onnxprune.bench([files / "small.onnx"], **QUICK | {"providers": "cuda,cpu"})
    missing, measured = found.points
    assert missing.provider == "cuda"
    assert "cuda" in missing.missing
    assert not missing.models
    assert measured.models
    with pytest.raises(UsageError, match="cuda"):
        onnxprune.bench([files / "small.onnx"], **QUICK | {"providers": "cuda"})


def test_throughput_starts_and_nodes_are_measured_where_asked_for(files, monkeypatch):
    monkeypatch.setattr(timing_point, "throughput", partial(throughput, window_s=0.05))
    found = onnxprune.bench(
        [files / "small.onnx", files / "large.onnx"], **QUICK | {"starts": 1}, callers=(1, 2), nodes=2
    )
    rates = [record for model in found.points[0].models for record in model.throughput]
    assert [record.callers for record in rates] == [1, 2, 1, 2]
    assert all(0 < record.low <= record.runs_per_s <= record.high for record in rates)
    assert [start.name for start in found.starts] == ["small.onnx", "large.onnx"]
    assert all(start.load_ms > 0 and start.first_run_ms > 0 and start.n == 1 for start in found.starts)
    by_model = {name: [node for node in found.nodes if node.model == name] for name in found.models}
    assert [len(nodes) for nodes in by_model.values()] == [1, 2]
    assert sum(node.share for node in by_model["small.onnx"]) == pytest.approx(1)
    assert {node.operator for node in by_model["large.onnx"]} <= {"MatMul", "Relu", "FusedMatMul"}


def test_one_file_twice_gets_two_names(files):
    (files / "other").mkdir()
    onnx.save(model_of(SMALL), files / "other" / "small.onnx")
    found = onnxprune.bench([files / "small.onnx", files / "small.onnx", files / "other" / "small.onnx"], **QUICK)
    first, second, third = found.models
    assert first == str(files / "small.onnx")
    assert second == f"{first} (2)"
    assert third == str(files / "other" / "small.onnx")


def test_a_fixed_batch_is_measured_as_it_is_and_said(files):
    found = onnxprune.bench([files / "fixed.onnx"], **QUICK, batch=(1, 8))
    (point,) = found.points
    assert point.batch == 2
    assert any("batch size of these models is fixed" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"models": []}, UsageError, "--models"),
        ({"models": ["none.onnx"]}, InputError, "none.onnx"),
        ({"models": ["small.onnx", "other.onnx"]}, ModelError, "different inputs"),
        ({"dims": {"T": 4}}, UsageError, "--dim T: the models have no such dynamic dimension. They have N, S"),
        ({"dims": {"N": 4}}, UsageError, "--dim N: that is the batch"),
        ({"dims": "S"}, UsageError, "--dims S: expected a dimension and its sizes"),
        ({"batch": "1,x"}, UsageError, "--batch 1,x: expected whole numbers"),
        ({"batch": 0}, UsageError, "--batch"),
        ({"providers": ""}, UsageError, "--providers names none"),
        ({"out": "nowhere/out.json"}, OutputError, "nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused(files, monkeypatch, options, error, message):
    monkeypatch.chdir(files)
    given = {"models": ["small.onnx"], **QUICK} | options
    with pytest.raises(error, match=message):
        onnxprune.bench(given.pop("models"), **given)


def test_the_command_prints_a_table_or_json_and_writes_a_file(files, quick_latency):
    words = ["bench", str(files / "small.onnx"), str(files / "large.onnx"), "--providers", "cpu", "--starts", "0"]
    words += ["--dim", "S=4", "--seconds", "0.1", "--repeats", "5", "-q"]
    shown = CliRunner().invoke(cli, words)
    assert shown.exit_code == 0
    assert "small.onnx" in shown.stdout
    assert "S 4" in shown.stdout
    out = files / "found.json"
    printed = CliRunner().invoke(cli, [*words, "--json", "--out", str(out)])
    assert printed.exit_code == 0
    content = json.loads(printed.stdout)
    assert content == json.loads(out.read_text(encoding="utf-8"))
    assert content["command"].startswith("onnxprune bench ")
    assert "--dim S=4" in content["command"]
    assert TimingReport.model_validate(content).to_json() == out.read_text(encoding="utf-8")


def test_schema_file_of_timings_is_up_to_date():
    stored = Path(timing_schema.__file__).with_name("timing_schema.json").read_text(encoding="utf-8")
    assert stored == timing_schema_text(), "write timing_schema_text() to onnxprune/report/timing_schema.json"


def test_nodes_of_a_loop_count_for_each_of_its_rounds():
    text = """g (float[64, 64] x, float[64, 64] w) => (float[64, 64] y) {
        n = Constant<value = int64 {ROUNDS}>()
        go = Constant<value = bool {1}>()
        y = Loop<body = body (int64 i, bool c, float[64, 64] a) => (bool d, float[64, 64] b) {
            d = Identity(c)
            b = MatMul(a, w)
        }>(n, go, x)
    }"""
    x = np.ones((64, 64), np.float32) / 64
    short, long = (
        profile_nodes({"m": model_of(text.replace("ROUNDS", rounds))}, {"x": x}, threads=1, runs=10)["m"]
        for rounds in ("1", "50")
    )
    assert {"Loop", "MatMul"} <= {node.op for node in long}
    assert {node.provider for node in long} == {"cpu"}
    once, often = (next(node.p50_us for node in found if node.op == "MatMul") for found in (short, long))
    assert often > once


def test_a_model_that_fails_in_throughput_says_so(files):
    session = make_session(files / "small.onnx", threads=1)
    feeds = {"x": np.ones((1, 2, 8), np.float32)}
    assert throughput({"a": session}, feeds, 2, window_s=0.02)["a"].runs_per_s > 0


def test_a_model_that_does_not_start_is_named(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"broken\.onnx: a fresh process cannot run the model"):
        fresh_starts({"broken": broken}, {"x": np.ones(1, np.float32)}, repeats=1)


def test_inputs_that_stay_on_the_device_give_the_same_latency_record(files):
    from onnxprune.runtime import LatencyOptions, measure

    options = LatencyOptions(repeats=5, warmup_s=0.01, min_time_s=0.01, settle_time_s=0.01, threads=1, resident=True)
    found = measure({"a": files / "small.onnx"}, {"x": np.ones((1, 2, 8), np.float32)}, options)
    assert found.latencies["a"].p50_us > 0


def test_every_point_says_how_often_sessions_were_made(files):
    (point,) = onnxprune.bench([files / "small.onnx", files / "large.onnx"], **QUICK).points
    assert point.stands >= 3
    assert f"Sessions made anew {point.stands} times." in rendered(point)


def rendered(point):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_timing(TimingReport(command="onnxprune bench", models={}, points=(point,))))
    return console.export_text()


def test_models_are_held_against_the_best_dense_form(files):
    (point,) = onnxprune.bench([files / "small.onnx", files / "large.onnx"], **QUICK, dense_forms="all").points
    names = [model.name for model in point.models]
    assert names == ["small.onnx", "large.onnx", "small.onnx in float16"]
    assert [model.dense for model in point.models] == [False, False, True]
    assert point.best_dense in ("small.onnx", "small.onnx in float16")
    large = point.models[1]
    if point.best_dense == "small.onnx":
        assert large.ratio_dense == large.ratio
    assert large.ratio_dense.low <= large.ratio_dense.ratio <= large.ratio_dense.high
    assert "Against the best dense form of the first" in rendered(point)


def test_no_dense_form_is_timed_on_the_cpu_by_itself(files):
    (point,) = onnxprune.bench([files / "small.onnx"], **QUICK).points
    assert [model.name for model in point.models] == ["small.onnx"]
    assert point.best_dense == ""


def test_what_only_cuda_can_do_is_said_on_the_cpu(files):
    (point,) = onnxprune.bench([files / "small.onnx"], **QUICK, energy=True, cuda_graph=True).points
    assert not point.cuda_graph
    assert any("Runs were not recorded as CUDA graphs: small.onnx: CUDA alone" in note for note in point.notes)
    assert any("Energy was not measured on cpu" in note for note in point.notes)
    assert point.models[0].energy is None


def test_energy_is_reported_for_each_model(files, monkeypatch):
    @contextmanager
    def meter():
        yield None

    energy = Energy(joules=1.5, low=1.25, high=1.75, watts=300.0, windows=5)
    monkeypatch.setattr(timing_point, "CUDA", "CPUExecutionProvider")
    monkeypatch.setattr(timing_point, "nvml_meter", meter)
    monkeypatch.setattr(timing_point, "energy_per_run", lambda calls, _: dict.fromkeys(calls, energy))
    (point,) = onnxprune.bench([files / "small.onnx", files / "large.onnx"], **QUICK, energy=True).points
    assert [model.energy.joules for model in point.models] == [1.5, 1.5]
    assert "1.25–1.75" in rendered(point)


def test_energy_that_cannot_be_measured_says_why(files, monkeypatch):
    monkeypatch.setattr(timing_point, "CUDA", "CPUExecutionProvider")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (point,) = onnxprune.bench([files / "small.onnx"], **QUICK, energy=True).points
    assert any("Energy was not measured: NVML for Python is not installed" in note for note in point.notes)


@pytest.mark.parametrize("name", ["tensorrt", "openvino", "coreml", "directml"])
def test_providers_that_are_absent_are_listed_as_not_measured(files, monkeypatch, name):
    monkeypatch.setattr("onnxprune.runtime.providers.available_providers", lambda: ("CPUExecutionProvider",))
    missing, measured = onnxprune.bench([files / "small.onnx"], **QUICK | {"providers": f"{name},cpu"}).points
    assert f"{name!r} is not in this onnxruntime" in missing.missing
    assert "Available and working here: cpu." in missing.missing
    assert measured.models


@pytest.mark.slow
def test_the_script_for_devices_runs_without_one(tmp_path, capsys):
    import gpu_latency

    words = ["--provider", "cpu", "--tiny", "--nets", "resnet50", "--budgets", "flops=0.5", "--batches", "1"]
    out = tmp_path / "out.json"
    assert gpu_latency.main([str(tmp_path), *words, "--precisions", "fp32,fp16", "--json", str(out)]) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "fp16"]
    for row in rows:
        assert 0.45 < row["macs_ratio"] <= 0.5
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert capsys.readouterr().out.count("| resnet50 | flops=0.5 |") == 2


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2", "vit", "bert"])
def test_nets_of_the_script_for_devices_run(name):
    import gpu_latency
    import gpu_nets

    net = gpu_nets.make_net(name, tiny=True)
    onnx.checker.check_model(net, full_check=True)
    feeds = gpu_latency._feeds_of(net, 2)
    (output,) = make_session(net, threads=1).run(None, feeds)
    assert output.shape[0] == 2
    assert np.isfinite(output).all()
