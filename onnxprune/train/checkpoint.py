"""A run's state on disk: always a whole one, whatever happens while it is written.

    folder/generation-00000007/state.safetensors     tensors
                               state.json            everything else, and the digest of the tensors

A generation is written under a name beginning with a dot, flushed to the disk, and gets its own
name by one rename; only then is the one before it removed, again by a rename first. So a folder
of that name is complete, and the highest number is the current one. What a killed process left
half-way keeps its dot and is removed by the next writer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from onnxprune.core.errors import InputError
from onnxprune.graph.staging import output_error

__all__ = ["Checkpoint", "Saved", "decode", "encode"]

FORMAT = 1
_TENSORS, _FACTS = "state.safetensors", "state.json"
_PREFIX, _HIDDEN = "generation-", ".generation-"


@dataclass(frozen=True)
class Saved:
    """A state.

    Attributes:
        facts: JSON values.
        tensors: By name; shapes, types and strides as they were.
    """

    facts: dict[str, Any]
    tensors: dict[str, torch.Tensor]


class Checkpoint:
    """The states of one run in a folder; the newest is kept.

    Args:
        folder: Made when the first state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: Saved) -> None:
        """Writes a state, and makes it the current one.

        Raises:
            OutputError: when the system refuses; the state before it stays.
        """
        facts, tensors = encode(state)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            older = self._generations()
            number = older[-1][0] + 1 if older else 1
            hidden = self.folder / f"{_HIDDEN}{number:08d}"
            hidden.mkdir()
            _write(hidden / _TENSORS, tensors)
            _write(hidden / _FACTS, facts)
            _flush(hidden)
            hidden.rename(self.folder / f"{_PREFIX}{number:08d}")
            _flush(self.folder)
            for _, path in older:
                self._remove(path)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def load(self) -> Saved | None:
        """Returns the current state, or None where nothing was saved.

        Raises:
            InputError: when its files are damaged, or of another version.
        """
        content = self.read()
        return None if content is None else decode(*content, str(self.folder))

    def read(self) -> tuple[bytes, bytes] | None:
        """Returns the current state as `encode` gives it, or None where nothing was saved.

        Raises:
            InputError: when its files cannot be read.
        """
        try:
            generations = self._generations()
            if not generations:
                return None
            path = generations[-1][1]
            return (path / _FACTS).read_bytes(), (path / _TENSORS).read_bytes()
        except OSError as error:
            raise InputError(
                f"The checkpoint in {self.folder} cannot be read: {error.strerror or error}. Make it readable, or "
                "remove the folder and start anew."
            ) from error

    def clear(self) -> None:
        """Removes every state.

        Raises:
            OutputError: when the system refuses.
        """
        try:
            for _, path in self._generations():
                self._remove(path)
            self._sweep()
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _generations(self) -> list[tuple[int, Path]]:
        """The complete states, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if path.name.startswith(_PREFIX)]
        return sorted((int(p.name.removeprefix(_PREFIX)), p) for p in found if p.name.removeprefix(_PREFIX).isdecimal())

    def _remove(self, path: Path) -> None:
        # hidden first: killed half-way, it is not taken for a state
        hidden = path.with_name(f".{path.name}")
        path.rename(hidden)
        shutil.rmtree(hidden)

    def _sweep(self) -> None:
        for path in self.folder.glob(f"{_HIDDEN}*") if self.folder.is_dir() else ():
            shutil.rmtree(path)


def encode(state: Saved) -> tuple[bytes, bytes]:
    """Returns a state as the contents of its two files: facts, tensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    strides = {
        name: list(tensor.stride()) for name, tensor in state.tensors.items() if tensor.stride() != plain[name].stride()
    }
    tensors = save_tensors(plain)
    body = {"format": FORMAT, "tensors": _digest(tensors), "strides": strides, "facts": state.facts}
    return json.dumps({**body, "digest": _digest(_canonical(body))}, indent=1).encode(), tensors


def decode(facts: bytes, tensors: bytes, where: str) -> Saved:
    """Returns the state whose files hold `facts` and `tensors`.

    Args:
        facts: Content of the JSON file.
        tensors: Content of the tensors' file.
        where: Names the checkpoint in messages.

    Raises:
        InputError: when they are damaged, or of another version.
    """
    remedy = "Remove the folder and start anew"
    try:
        body = json.loads(facts)
        digest = body.pop("digest")
        damaged = _FACTS if digest != _digest(_canonical(body)) else ""
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError(f"The checkpoint in {where} is damaged: {_FACTS} is not what was written. {remedy}.") from None
    if not damaged and body["format"] != FORMAT:
        raise InputError(
            f"The checkpoint in {where} has format {body['format']}; this version of onnxprune reads {FORMAT}. "
            f"{remedy}, or resume with the version that wrote it."
        )
    if damaged or body["tensors"] != _digest(tensors):
        raise InputError(
            f"The checkpoint in {where} is damaged: {damaged or _TENSORS} is not what was written. {remedy}."
        )
    try:
        read = load_tensors(tensors)
    except safetensors.SafetensorError as error:
        raise InputError(f"The checkpoint in {where} cannot be read: {error}. {remedy}.") from error
    return Saved(body["facts"], {name: _laid(t, body["strides"].get(name)) for name, t in read.items()})


def _laid(tensor: torch.Tensor, strides: list[int] | None) -> torch.Tensor:
    """A copy as it lay in memory: PyTorch's own starts at aligned addresses, that of a buffer need not."""
    laid = torch.empty_strided(tensor.shape, strides or tensor.stride(), dtype=tensor.dtype)
    return laid.copy_(tensor)


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Flushes a folder's entries, where the system can (Windows cannot open folders)."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
