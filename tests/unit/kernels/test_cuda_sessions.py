"""Which sessions on CUDA get the kernels: where one layer, the device or its compiler will not do, none are registered.

Each test loads a copy of the library: what one has found of CUDA it keeps.
"""

from __future__ import annotations

import ctypes
import logging
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from block_sparse_cases import ConvCase, MatMulCase, kernel_library, model_of, run_session, session_of
from cuda_emulation import emulator, selected
from onnx import TensorProto, helper

from onnxprune.kernels import KernelsMissing, Window, attach, available_for, cuda_obstacle, cuda_state, register
from onnxprune.kernels.cuda import CUDA, nvrtc_files

CPU = "CPUExecutionProvider"
PROVIDERS = [(CUDA, {"device_id": "0"}), CPU]
COVERED = MatMulCase(tiles=2, width=64, block=16, kept=3, inputs=100, lead=(6,), cut=3, act="Gelu", dtype="float16")
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-12}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library that knows nothing of CUDA yet."""
    return Path(shutil.copy(kernel_library(), tmp_path / "fresh.so"))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with an emulated device, and nothing compiled for it."""
    stands_in = str(emulator())
    kernel_library()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("ONNXPRUNE_CUDA_DRIVER", "ONNXPRUNE_NVRTC"):
        monkeypatch.setenv(name, stands_in)


def obstacle(case: Any, library: Path, **options: Any) -> str:
    return cuda_obstacle(model_of(case, case.arrays(), **options), library)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_covered_layers_meet_no_obstacle(dtype: str, library: Path) -> None:
    conv = ConvCase(tiles=2, width=32, block=8, kept=2, inputs=20, image=(9, 9), dtype=dtype)
    assert obstacle(conv, library) == ""
    assert obstacle(MatMulCase(tiles=2, width=128, block=24, kept=2, inputs=20, dtype=dtype), library) == ""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (MatMulCase(tiles=2, width=64, block=16, kept=2, inputs=64, dtype="float64"), "float32, float16 or bfloat16"),
        (MatMulCase(tiles=2, width=64, block=4, kept=2, inputs=64), "blocks have 4 inputs"),
        (MatMulCase(tiles=2, width=40, block=8, kept=2, inputs=64), "tiles have 40 outputs"),
        (ConvCase(tiles=2, width=8, block=8, kept=2, inputs=64, image=(9, 9)), "tiles have 8 outputs"),
        (
            ConvCase(tiles=1, width=32, block=8, kept=2, inputs=16, image=(9,), window=Window((2,), (), (), (1024,))),
            "reaches over 1025 positions",
        ),
    ],
)
def test_layers_that_are_not_covered_are_named(case: Any, said: str, library: Path) -> None:
    found = obstacle(case, library)
    assert found.startswith(case.node().op_type)
    assert said in found


def test_one_layer_of_many_is_enough(library: Path) -> None:
    model = model_of(COVERED, COVERED.arrays())
    narrow = MatMulCase(tiles=1, width=8, block=8, kept=1, inputs=8, dtype="float16")
    other = model_of(narrow, narrow.arrays()).graph
    for tensor in other.initializer:
        tensor.name += "_2"
        model.graph.initializer.append(tensor)
    node = other.node[0]
    names = ["x", *(f"{name}_2" for name in node.input[1:])]
    node.CopyFrom(helper.make_node(node.op_type, names, ["z"], domain="onnxprune"))
    node.attribute.extend(other.node[0].attribute or narrow.node().attribute)
    model.graph.node.append(node)
    assert "'z'" in cuda_obstacle(model, library)


def test_weights_that_are_computed_are_not_covered(library: Path) -> None:
    assert "not a constant" in obstacle(COVERED, library, constant=False)


def test_weights_that_callers_may_replace_are_not_covered(library: Path) -> None:
    arrays = COVERED.arrays()
    model = model_of(COVERED, arrays)
    shape = arrays["weight"].shape
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT16, shape))
    assert "not a constant" in cuda_obstacle(model, library)


def test_layers_inside_a_subgraph_are_not_covered(library: Path) -> None:
    inner = model_of(COVERED, COVERED.arrays())
    taken = helper.make_graph(list(inner.graph.node), "then", [], [helper.make_empty_tensor_value_info("y")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=taken, else_branch=taken)
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph([node], "g", [*inner.graph.input, condition], list(inner.graph.output))
    graph.initializer.extend(inner.graph.initializer)
    model = helper.make_model(graph, ir_version=8, opset_imports=list(inner.opset_import))
    attach(model)
    assert "lies in a subgraph" in cuda_obstacle(model, library)


def test_another_version_of_the_operators_is_not_covered(library: Path) -> None:
    model = model_of(COVERED, COVERED.arrays())
    next(entry for entry in model.opset_import if entry.domain == "onnxprune").version = 2
    assert "version 2 of the domain" in cuda_obstacle(model, library)


def test_old_devices_are_named(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_ARCHITECTURE", "75")
    assert "architecture 75" in obstacle(COVERED, library)


def test_devices_that_are_not_there_are_named(library: Path) -> None:
    model = model_of(COVERED, COVERED.arrays())
    assert "no CUDA device 3" in cuda_obstacle(model, library, device=3)


@pytest.mark.parametrize(
    ("variable", "said"), [("ONNXPRUNE_CUDA_DRIVER", "no CUDA driver"), ("ONNXPRUNE_NVRTC", "no NVRTC")]
)
def test_missing_libraries_are_named(
    variable: str, said: str, library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "none.so"))
    assert said in obstacle(COVERED, library)
    assert said in cuda_state(library).reason
    # and a library that comes later is found
    monkeypatch.setenv(variable, str(emulator()))
    assert obstacle(COVERED, library) == ""


def test_library_that_is_something_else_is_named(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRUNE_CUDA_DRIVER", "libm.so.6")
    assert "libm.so.6 has no cuInit" in obstacle(COVERED, library)


def test_kernels_that_do_not_compile_are_named(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_NVRTC_FAILS", "1")
    assert "does not compile the kernels: it was told to fail" in obstacle(COVERED, library)


def test_state_tells_versions_and_device(library: Path) -> None:
    found = cuda_state(library)
    assert found
    assert (found.driver, found.nvrtc, found.device, found.architecture) == ("99.0", "13.0", "Emulated device", 90)


@pytest.mark.parametrize(
    ("architecture", "newest", "option"),
    [(90, 120, "sm_90"), (86, 120, "sm_86"), (103, 120, "compute_100"), (120, 90, "compute_90")],
)
def test_devices_that_nvrtc_does_not_know_get_what_the_driver_compiles(
    architecture: int, newest: int, option: str, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_ARCHITECTURE", str(architecture))
    monkeypatch.setenv("EMULATED_NVRTC_KNOWS", str(newest))
    assert obstacle(COVERED, library) == ""
    emulated = ctypes.CDLL(str(emulator()))
    emulated.emulated_option.restype = ctypes.c_char_p
    assert emulated.emulated_option().decode() == f"--gpu-architecture={option}"


def test_nvrtc_that_knows_no_such_device_is_named(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_NVRTC_KNOWS", "75")
    assert "does not know architecture 90" in obstacle(COVERED, library)


@pytest.mark.parametrize(("driver", "nvrtc"), [("12080", "12.0"), ("13000", "13.0"), ("11080", "13.0")])
def test_nvrtc_is_one_whose_code_the_driver_loads(
    driver: str, nvrtc: str, library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = [str(shutil.copy(emulator(), tmp_path / f"libnvrtc.so.{major}")) for major in (13, 12)]
    monkeypatch.delenv("ONNXPRUNE_NVRTC")
    monkeypatch.setenv("EMULATED_DRIVER", driver)
    monkeypatch.setattr("onnxprune.kernels.cuda.nvrtc_files", lambda: files)
    assert cuda_state(library).nvrtc == nvrtc


def test_nvrtc_of_packages_is_sorted_by_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("cu13/lib/libnvrtc.so.13", "cuda_nvrtc/lib/libnvrtc.so.12", "cuda_nvrtc/lib/libnvrtc.alt.so.12")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    assert list(nvrtc_files()) == [str(tmp_path / name) for name in names[:2]]


@pytest.mark.parametrize("source", ["proto", "bytes", "path"])
def test_sessions_on_cuda_get_the_kernels_where_all_is_covered(source: str, library: Path, tmp_path: Path) -> None:
    model = model_of(COVERED, COVERED.arrays())
    onnx.save(model, tmp_path / "model.onnx")
    given = {"proto": model, "bytes": model.SerializeToString(), "path": tmp_path / "model.onnx"}[source]
    found = available_for(PROVIDERS, given, library)
    assert found
    assert found.isa == "sm_90"
    # where CUDA is not there after all, the kernels of the CPU are registered beside those of CUDA
    options = ort.SessionOptions()
    assert register(options, strict=True, library=library, providers=PROVIDERS, model=given)
    arrays = COVERED.arrays()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    np.testing.assert_allclose(run_session(session, arrays), COVERED.expected(arrays), atol=1e-2)


def test_sessions_on_cuda_get_nothing_where_a_layer_is_not_covered(library: Path, caplog: Any) -> None:
    case = MatMulCase(tiles=2, width=20, block=4, kept=3, inputs=30)
    model = model_of(case, case.arrays())
    options: Any = object()  # is not touched
    with caplog.at_level(logging.INFO):
        assert not register(options, library=library, providers=PROVIDERS, model=model)
    assert "run by their bodies: BlockSparseMatMul" in caplog.text
    with pytest.raises(KernelsMissing, match="blocks have 4 inputs"):
        register(options, strict=True, library=library, providers=PROVIDERS, model=model)
    assert available_for([CPU], model, library)


def test_sessions_on_cuda_get_nothing_without_their_model(library: Path) -> None:
    options: Any = object()
    assert not register(options, library=library, providers=[CUDA])


def test_float32_that_may_not_be_rounded_has_its_own_kernels(library: Path, tmp_path: Path) -> None:
    case = MatMulCase(tiles=2, width=64, block=16, kept=3, inputs=100)
    model = model_of(case, case.arrays())
    stored = tmp_path / "cache" / "onnxprune"
    assert available_for([(CUDA, {"use_tf32": "0"})], model, library)
    before = set(stored.iterdir())
    assert available_for([CUDA], model, library)
    assert set(stored.iterdir()) > before


def _compilations() -> int:
    return int(ctypes.CDLL(str(emulator())).emulated_compilations())


def test_compiled_kernels_are_kept_on_disk(library: Path, tmp_path: Path) -> None:
    assert obstacle(COVERED, library) == ""
    made = _compilations()
    (kept, *more) = sorted((tmp_path / "cache" / "onnxprune").iterdir())
    again = Path(shutil.copy(library, tmp_path / "again.so"))
    assert obstacle(COVERED, again) == ""
    assert _compilations() == made
    # what is cut short or damaged is made anew, and replaced
    whole = kept.read_bytes()
    for wrong in (whole[:-3], b"", whole[:-3] + b"???", b"something else"):
        kept.write_bytes(wrong)
        assert obstacle(COVERED, Path(shutil.copy(library, tmp_path / f"{len(wrong)}{wrong[-1:].hex()}.so"))) == ""
        made += 1
        assert _compilations() == made
        assert kept.read_bytes() == whole
    assert len(more) == 1


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_compiled_kernels_that_others_may_write_are_not_run(mode: int, library: Path, tmp_path: Path) -> None:
    assert obstacle(COVERED, library) == ""
    made, folder = _compilations(), tmp_path / "cache" / "onnxprune"
    for kept in folder.iterdir():
        kept.chmod(mode)
    assert obstacle(COVERED, Path(shutil.copy(library, tmp_path / "again.so"))) == ""
    assert _compilations() == made + 2
    assert {kept.stat().st_mode & 0o777 for kept in folder.iterdir()} == {0o600}


def test_cache_that_cannot_be_written_does_no_harm(
    library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert obstacle(COVERED, library) == ""


def test_many_processes_may_fill_the_cache_at_once(tmp_path: Path) -> None:
    libraries = [Path(shutil.copy(kernel_library(), tmp_path / f"{i}.so")) for i in range(8)]
    found: list[str] = []
    threads = [threading.Thread(target=lambda lib=lib: found.append(obstacle(COVERED, lib))) for lib in libraries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [""] * 8
    assert len(list((tmp_path / "cache" / "onnxprune").iterdir())) == 2  # nothing half-written is left
    assert obstacle(COVERED, Path(shutil.copy(kernel_library(), tmp_path / "last.so"))) == ""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (MatMulCase(tiles=2, width=40, block=8, kept=2, inputs=64), "do not cover this layer: its tiles have 40"),
        (MatMulCase(tiles=2, width=64, block=4, kept=2, inputs=64), "do not cover this layer: its blocks have 4"),
    ],
)
def test_kernels_refuse_what_they_do_not_cover(case: Any, said: str) -> None:
    with selected(), pytest.raises(Exception, match=said):
        session_of(model_of(case, case.arrays()), kernels=True)


def test_kernels_refuse_weights_that_are_computed() -> None:
    with selected(), pytest.raises(Exception, match="take constants"):
        session_of(model_of(COVERED, COVERED.arrays(), constant=False), kernels=True)


def test_kernels_refuse_blocks_that_do_not_exist() -> None:
    arrays = COVERED.arrays()
    arrays["index"][1, 0] = 99
    with selected(), pytest.raises(Exception, match=r"index\[1, 0\] is 99"):
        session_of(model_of(COVERED, arrays, bodies=False), kernels=True)


def test_kernels_refuse_inputs_of_another_size() -> None:
    model = model_of(COVERED, COVERED.arrays(), bodies=False)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with selected():
        session = session_of(model, kernels=True)
    with pytest.raises(Exception, match="its last dimension must be in_features"):
        session.run(None, {"x": np.zeros((6, 99), np.float16)})


PATTERNS = [(1, 32), (8, 32), (16, 64), (16, 128), (4, 20), (8, 48)]


@pytest.mark.parametrize("family", ["matmul", "conv"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: f"{p[0]}x{p[1]}")
@pytest.mark.parametrize("provider", [CPU, CUDA])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_every_cell_runs_or_falls_back(
    dtype: str, provider: str, pattern: tuple[int, int], family: str, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, width = pattern
    sizes = {"tiles": 2, "width": width, "block": block, "kept": 3, "inputs": 30, "cut": 3, "dtype": dtype}
    case = MatMulCase(**sizes) if family == "matmul" else ConvCase(**sizes, image=(5, 6))
    arrays = case.arrays()
    model = model_of(case, arrays)
    monkeypatch.setenv("ONNXPRUNE_CUDA_TF32", "0")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    given = register(options, library=library, providers=[provider], model=model)
    covered = dtype != "float64" and block % 8 == 0 and width % 32 == 0
    assert given == (provider == CPU or covered)
    if not given:
        if dtype in ("bfloat16", "float64"):
            return  # the body is for CUDA: onnxruntime has no such operators on the CPU
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    elif provider == CPU:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    else:
        with selected():
            session = session_of(model, kernels=True)
    expected = case.expected(arrays)
    off = np.abs(run_session(session, arrays).astype(np.float64) - expected).max()
    assert off <= TOLERANCE[dtype] * max(1.0, np.abs(expected).max())


def test_selection_is_of_the_thread(library: Path) -> None:
    # one thread chooses CUDA while another registers: only the first gets it
    ctypes.CDLL(str(library)).onnxprune_kernels_select(2)
    failures: list[Exception] = []

    def other() -> None:
        case = MatMulCase(tiles=2, width=20, block=4, kept=3, inputs=30)  # which the kernels on CUDA would refuse
        try:
            session_of(model_of(case, case.arrays()), kernels=True, library=library)
        except Exception as error:  # noqa: BLE001 - whatever it is fails the test
            failures.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert failures == []
