"""States on disk: always a whole one, bit for bit, or a clear error."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from onnxprune.core.errors import InputError, OutputError
from onnxprune.train.checkpoint import Checkpoint, Saved, decode, encode


def _state(number: int = 1) -> Saved:
    generator = torch.Generator().manual_seed(number)
    weight = torch.randn(4, 3, 2, 2, generator=generator)
    tensors = {
        "plain": torch.randn(5, generator=generator),
        "channels last/a.b": weight.contiguous(memory_format=torch.channels_last),
        "depthwise": torch.randn(4, 1, 3, 3).contiguous(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 2),
    }
    return Saved({"step": number, "value": 0.1 + 0.2, "none": None, "deep": {"list": [1, 2.5]}}, tensors)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_state_comes_back_to_the_bit_with_its_layout(tmp_path):
    state = _state()
    Checkpoint(tmp_path / "new" / "folder").save(state)
    found = Checkpoint(tmp_path / "new" / "folder").load()
    assert found.facts == state.facts
    assert found.tensors.keys() == state.tensors.keys()
    for name, tensor in state.tensors.items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].stride() == tensor.stride()


def test_only_the_newest_state_is_kept(tmp_path):
    box = Checkpoint(tmp_path)
    for number in (1, 2, 3):
        box.save(_state(number))
    assert _names(tmp_path) == ["generation-00000003"]
    assert box.load().facts["step"] == 3


def test_nothing_saved_is_none_and_clear_removes_all(tmp_path):
    assert Checkpoint(tmp_path / "none").load() is None
    Checkpoint(tmp_path / "none").clear()
    box = Checkpoint(tmp_path)
    box.save(_state())
    box.clear()
    assert box.load() is None
    assert _names(tmp_path) == []


OPERATIONS = ("mkdir", "open", "fsync", "rename", "rmtree")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("after", range(4))
def test_death_at_any_operation_leaves_a_whole_state(tmp_path, monkeypatch, operation, after):
    class Death(BaseException):
        pass

    box = Checkpoint(tmp_path)
    box.save(_state(1))
    owner = {"mkdir": Path, "open": Path, "rename": Path, "fsync": os, "rmtree": shutil}[operation]
    genuine, calls = getattr(owner, operation), [0]

    def dying(*arguments, **named):
        calls[0] += 1
        if calls[0] > after:
            raise Death
        return genuine(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, operation, dying)
        with contextlib.suppress(Death):
            box.save(_state(2))
    assert box.load().facts["step"] in (1, 2)
    box.save(_state(3))
    assert box.load().facts["step"] == 3
    assert len(_names(tmp_path)) == 1


def test_full_disk_is_an_output_error_and_keeps_the_state(tmp_path, monkeypatch):
    box = Checkpoint(tmp_path)
    box.save(_state(1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"disk is full"):
            box.save(_state(2))
    assert box.load().facts["step"] == 1


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_damage_is_an_input_error_that_names_the_file(tmp_path, name, damage):
    box = Checkpoint(tmp_path)
    box.save(_state())
    (path,) = tmp_path.glob(f"*/{name}")
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "flip": flipped, "empty": b""}[damage])
    with pytest.raises(InputError, match="cannot be read" if damage == "gone" else f"damaged: {name}") as caught:
        box.load()
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_state_of_another_format_is_refused(monkeypatch):
    monkeypatch.setattr("onnxprune.train.checkpoint.FORMAT", 2)
    facts, tensors = encode(_state())
    monkeypatch.setattr("onnxprune.train.checkpoint.FORMAT", 1)
    with pytest.raises(InputError, match=r"format 2.*reads 1"):
        decode(facts, tensors, "here")
