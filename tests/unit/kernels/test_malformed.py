"""Whatever a node says and is fed, onnxruntime gives an error or the right result."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from block_sparse_cases import ConvCase, MatMulCase, kernel_library, model_of, session_of
from cuda_emulation import emulator, selected
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnxprune.kernels import Window, register
from onnxprune.runtime.errors import ORT_ERRORS

MATMUL = MatMulCase(tiles=3, width=20, block=4, kept=2, inputs=30, lead=(6,), cut=3, act="Relu")
CONV = ConvCase(tiles=2, width=8, block=2, kept=2, inputs=7, image=(9, 8))
ROUNDS = int(os.environ.get("ONNXPRUNE_FUZZ_ROUNDS", "250"))
ODD_NUMBERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 17, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
ODD_SIZES = (0, 1, 2, 3, 5, 31)


def changed(case: MatMulCase | ConvCase, **attributes: Any) -> onnx.ModelProto:
    """Returns the model of a case with other attributes."""
    model = model_of(case, case.arrays(), bodies=False)
    (node,) = model.graph.node
    others = [a for a in node.attribute if a.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*others, *(helper.make_attribute(k, v) for k, v in attributes.items())])
    return model


def with_array(case: MatMulCase | ConvCase, name: str, array: NDArray[Any]) -> onnx.ModelProto:
    """Returns the model of a case with another weight."""
    model = model_of(case, case.arrays(), bodies=False)
    for initializer in model.graph.initializer:
        if initializer.name == name:
            initializer.CopyFrom(numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"block_k": 0}, "at least one input"),
        ({"block_k": 3}, "no multiple of the block"),
        ({"in_features": -5}, "must have 1 to"),
        ({"in_features": 10}, "blocks of inputs"),
        ({"out_features": 61}, "do not make 61 outputs"),
        ({"out_features": 40}, "do not make 40 outputs"),
    ],
)
def test_matmul_refuses_sizes_when_it_is_loaded(attributes: dict[str, int], said: str) -> None:
    with pytest.raises(ORT_ERRORS, match=said):
        session_of(changed(MATMUL, **attributes), kernels=True)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"group": 3}, "not .3 tiles times"),
        ({"group": 0}, "not .0 tiles times"),
        ({"kernel_shape": [3, 2]}, "kernel_shape is"),
        ({"strides": [1, 0]}, "A stride must be at least 1"),
        ({"pads": [1, 1]}, "pads has 2 numbers, not 4"),
        ({"pads": [1, 1, -1, 1]}, "A pad must be at least 0"),
        ({"dilations": [2**62, 1]}, "A dilation must be at least 1 and below"),
        ({"in_channels": 2}, "blocks of inputs"),
    ],
)
def test_conv_refuses_sizes_when_it_is_loaded(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(ORT_ERRORS, match=said):
        session_of(changed(CONV, **attributes), kernels=True)


@pytest.mark.parametrize("case", [MATMUL, CONV], ids=["matmul", "conv"])
@pytest.mark.parametrize("wrong", [-1, 99, -(2**63), 2**63 - 1])
def test_blocks_that_do_not_exist_are_refused(case: Any, wrong: int) -> None:
    index = case.arrays()["index"].copy()
    index[1, 0] = wrong
    with pytest.raises(ORT_ERRORS, match=r"index\[1, 0\] is"):
        session_of(with_array(case, "index", index), kernels=True)
    arrays = case.arrays() | {"index": index}
    with pytest.raises(ORT_ERRORS, match=r"index\[1, 0\] is"):
        session_of(model_of(case, arrays, constant=False, bodies=False), kernels=True).run(None, arrays)


@pytest.mark.parametrize("shape", [(6, 29), (6,), (29, 6)])
def test_inputs_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    model = model_of(MATMUL, MATMUL.arrays(), bodies=False)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ORT_ERRORS, match="its last dimension must be in_features"):
        session_of(model, kernels=True).run(None, {"x": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("shape", [(1, 6, 9, 9), (1, 7, 9), (7, 9, 9), (1, 7, 2, 0)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    model = model_of(CONV, CONV.arrays(), bodies=False)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ORT_ERRORS, match=r"it must have the rank|does not fit"):
        session_of(model, kernels=True).run(None, {"x": np.zeros(shape, np.float32)})


def test_windows_larger_than_the_image_are_refused() -> None:
    case = ConvCase(tiles=2, width=8, block=2, kept=2, inputs=7, image=(9, 8), window=Window((3, 3)))
    session = session_of(model_of(case, case.arrays(), bodies=False), kernels=True)
    with pytest.raises(ORT_ERRORS, match="does not fit"):
        session.run(None, {"x": np.zeros((1, 7, 2, 9), np.float32)})


def test_images_too_large_to_lay_out_are_refused() -> None:
    model = changed(CONV, pads=[2**30, 2**30, 2**30, 2**30])
    with pytest.raises(ORT_ERRORS, match="too large"):
        session_of(model, kernels=True).run(None, {"x": np.zeros((1, 7, 9, 8), np.float32)})


def test_wrong_bias_is_refused() -> None:
    session = session_of(with_array(MATMUL, "bias", np.zeros(57, np.float32)), kernels=True)
    with pytest.raises(ORT_ERRORS, match="bias has shape"):
        session.run(None, {"x": MATMUL.arrays()["x"]})


def test_random_nonsense_is_survived() -> None:
    seed = int(os.environ.get("ONNXPRUNE_FUZZ_SEED", "0"))
    outcomes = {"ran": 0, "refused": 0}
    for round_ in range(seed, seed + ROUNDS):
        sys.stdout.write(f"round {round_}: ONNXPRUNE_FUZZ_SEED={round_} ONNXPRUNE_FUZZ_ROUNDS=1 replays it\n")
        outcomes[_round(np.random.default_rng(round_))] += 1
    if ROUNDS >= 100:
        assert min(outcomes.values()) > 0.05 * ROUNDS, outcomes


def test_random_nonsense_is_survived_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONNXPRUNE_CUDA_DRIVER", "ONNXPRUNE_NVRTC"):
        monkeypatch.setenv(name, str(emulator()))
    monkeypatch.setenv("ONNXPRUNE_CUDA_TF32", "0")
    seed = int(os.environ.get("ONNXPRUNE_FUZZ_SEED", "0"))
    outcomes = {"ran": 0, "refused": 0}
    for round_ in range(seed, seed + max(1, ROUNDS // 2)):
        sys.stdout.write(f"round {round_}: ONNXPRUNE_FUZZ_SEED={round_} ONNXPRUNE_FUZZ_ROUNDS=1 replays it\n")
        with selected():
            outcomes[_round(np.random.default_rng(round_), block=8, width=32)] += 1
    if ROUNDS >= 100:
        assert min(outcomes.values()) > 0.05 * ROUNDS // 2, outcomes


def _round(rng: np.random.Generator, *, block: int = 1, width: int = 1) -> str:
    """Makes a random node with random inputs; returns how it ended. Blocks and tiles are multiples of sizes."""
    case = _random_case(rng, block, width)
    arrays = case.arrays()
    model = model_of(case, arrays, constant=bool(rng.integers(2)), bodies=False)
    for value in model.graph.input:
        value.type.tensor_type.ClearField("shape")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (node,) = model.graph.node
    damaged = False
    for _ in range(int(rng.integers(0, 3))):
        damaged = _damage(rng, model, node, arrays) or damaged
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(rng.integers(1, 3))
    assert register(options, strict=True, library=kernel_library())
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        fed = {value.name for value in session.get_inputs()}
        (found,) = session.run(None, {name: value for name, value in arrays.items() if name in fed})
    except ORT_ERRORS:
        return "refused"
    if not damaged:
        np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=2e-5, err_msg=repr(case))
    return "ran"


def _random_case(rng: np.random.Generator, block_of: int, width_of: int) -> MatMulCase | ConvCase:
    tops = (4, 40 if width_of == 1 else 4, 9 if block_of == 1 else 4, 5, 40)
    tiles, width, block, kept, inputs = (int(rng.integers(1, top)) for top in tops)
    width, block = width * width_of, block * block_of
    act = str(rng.choice(["", "Relu", "Clip", "Silu"]))
    seed = int(rng.integers(1 << 30))
    cut = int(rng.integers(width)) if rng.integers(2) else 0
    if rng.integers(2):
        lead = tuple(int(n) for n in rng.integers(0, 12, int(rng.integers(0, 4))))
        return MatMulCase(tiles, width, block, kept, inputs, lead, cut, act, seed=seed)
    rank = int(rng.integers(1, 4))
    numbers = [tuple(int(n) for n in rng.integers(low, high, rank)) for low, high in ((1, 5), (1, 4), (1, 4))]
    pads = tuple(int(n) for n in rng.integers(0, 4, 2 * rank))
    image = tuple(int(n) for n in rng.integers(1, 14 if rank < 3 else 7, rank))
    window = Window(numbers[0], pads, numbers[1], numbers[2])
    reach = [(k - 1) * d + 1 for k, d in zip(numbers[0], numbers[2], strict=True)]
    image = tuple(max(size, r - a - b) for size, r, a, b in zip(image, reach, pads[:rank], pads[rank:], strict=True))
    batch = int(rng.integers(0, 3))
    return ConvCase(tiles, width, block, kept, inputs, image, window, batch, cut, act, bool(rng.integers(2)), seed=seed)


def _damage(
    rng: np.random.Generator, model: onnx.ModelProto, node: onnx.NodeProto, arrays: dict[str, NDArray[Any]]
) -> bool:
    """Breaks something; returns whether anything may differ."""
    match int(rng.integers(5)):
        case 0:  # an attribute
            attribute = node.attribute[int(rng.integers(len(node.attribute)))]
            odd = int(rng.choice(ODD_NUMBERS))
            if attribute.type == onnx.AttributeProto.INT:
                attribute.i = odd
            elif attribute.ints:
                attribute.ints[int(rng.integers(len(attribute.ints)))] = odd
        case 1:  # a list of another length, or none
            lists = [attribute for attribute in node.attribute if attribute.ints]
            if lists:
                chosen = lists[int(rng.integers(len(lists)))]
                chosen.ints.append(1) if rng.integers(2) else chosen.ints.pop()
        case 2:  # values of the index
            index = arrays["index"].copy()
            if index.size:
                index.flat[int(rng.integers(index.size))] = int(rng.choice(ODD_NUMBERS))
            _replace(model, arrays, "index", index)
        case 3:  # a shape
            name = str(rng.choice(sorted(arrays)))
            shape = list(arrays[name].shape)
            if shape and rng.integers(3):
                shape[int(rng.integers(len(shape)))] = int(rng.choice(ODD_SIZES))
            elif shape and rng.integers(2):
                shape.pop()
            else:
                shape.insert(0, int(rng.choice(ODD_SIZES)))
            _replace(model, arrays, name, np.resize(arrays[name], shape))
        case 4:  # inputs left out
            node.input.pop()
    return True


def _replace(model: onnx.ModelProto, arrays: dict[str, NDArray[Any]], name: str, value: NDArray[Any]) -> None:
    arrays[name] = np.ascontiguousarray(value)
    for initializer in model.graph.initializer:
        if initializer.name == name:
            initializer.CopyFrom(numpy_helper.from_array(arrays[name], name))
