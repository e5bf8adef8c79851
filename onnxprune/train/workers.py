"""The processes that train one model together.

`torchrun` (and `accelerate launch`) start them and tell each by environment variables who it is:
RANK of WORLD_SIZE, LOCAL_RANK on its machine, and where rank 0 listens (MASTER_ADDR,
MASTER_PORT). Without them there is one process, and nothing here does anything.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from onnxprune.core.errors import InputError, OnnxPruneError, UsageError

__all__ = ["Workers", "pick_device", "workers"]

_TIMEOUT = timedelta(minutes=30)
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Workers:
    """This process among those that train together. What exchanges anything is called by all of them.

    Attributes:
        rank: Which one this is, from 0.
        size: How many there are.
        local_rank: Which one this is on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def barrier(self) -> None:
        """Returns when all processes have come here."""
        self.total(torch.zeros(1))

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns the sum of a tensor over all processes, any shape; the argument is left alone."""
        if self.size == 1:
            return tensor
        summed = tensor.detach().clone()
        dist.all_reduce(summed)
        return summed

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns the mean of a float tensor over all processes."""
        return self.total(tensor) / self.size if self.size > 1 else tensor

    def broadcast_bytes(self, content: bytes | None) -> bytes:
        """Returns rank 0's `content` in every process; the others give None."""
        if self.size == 1:
            return content or b""
        length = torch.tensor([len(content or b"")])
        dist.broadcast(length, 0)
        buffer = torch.empty(int(length), dtype=torch.uint8)
        if self.first and content:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        if len(buffer):
            dist.broadcast(buffer, 0)
        return buffer.numpy().tobytes()

    def broadcast_text(self, text: str | None) -> str:
        """Returns rank 0's `text` in every process; the others give None."""
        return self.broadcast_bytes(None if text is None else text.encode()).decode()

    def on_first(self, work: Callable[[], bytes]) -> bytes:
        """Returns in every process what `work` returned in rank 0.

        Raises:
            InputError: when `work` raised what a user can act on; rank 0 raises that itself.
        """
        result: bytes | None = None
        failure: OnnxPruneError | None = None
        if self.first:
            try:
                result = work()
            except OnnxPruneError as error:
                failure = error
        told = self.broadcast_text(None if failure is None else str(failure))
        if failure is not None:
            raise failure
        if told:
            raise InputError(told)
        return self.broadcast_bytes(result)

    def lost_another(self, error: BaseException) -> bool:
        """Returns whether an error says that another process does not answer any more."""
        if self.size == 1:
            return False
        return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Makes one sentence of what happens in the block when another process does not answer any more.

        Raises:
            OnnxPruneError: when that happens.
        """
        try:
            yield
        except Exception as error:
            if not self.lost_another(error):
                raise
            raise OnnxPruneError(
                "Another process of this training ended, so this one cannot go on. The message of that process says "
                "why."
            ) from error

    def abort(self) -> None:
        """Lets go of communication that others may never answer; for a process that fails."""
        if self.size > 1 and dist.is_initialized() and torch.cuda.is_available():
            group = dist.group.WORLD
            if group is not None and hasattr(group, "abort"):
                group.abort()


@functools.cache
def workers() -> Workers:
    """Returns this process's place among all; connects them on the first call.

    Communication is NCCL for tensors on a GPU and Gloo for others; it ends with the process.

    Raises:
        UsageError: when the environment names several processes and not how to find them.
    """
    if dist.is_available() and dist.is_initialized():
        return Workers(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", dist.get_rank())))
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        return Workers()
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"WORLD_SIZE = {size} asks for {size} processes, but {', '.join(missing)} is not set. Start them with "
            "`torchrun --nproc-per-node N`, or unset WORLD_SIZE."
        )
    if not dist.is_available():
        raise UsageError(f"WORLD_SIZE = {size}: this build of PyTorch cannot train in several processes.")
    rank = _number("RANK", 0)
    local = _number("LOCAL_RANK", rank)
    with_gpu = torch.cuda.is_available() and dist.is_nccl_available()
    if with_gpu and local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if with_gpu else "gloo", timeout=_TIMEOUT)
    atexit.register(_leave)
    return Workers(rank, size, local)


def pick_device(name: str, team: Workers) -> torch.device:
    """Returns the device that this process trains on.

    Args:
        name: "auto", "cpu" or "cuda".
        team: With several processes on one machine, each has a GPU of its own.

    Raises:
        UsageError: when "cuda" is asked for and there is none, or fewer GPUs than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device = 'cuda': PyTorch finds no CUDA device. Use --device cpu, or install a CUDA build.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if team.local_rank >= torch.cuda.device_count():
        raise UsageError(
            f"Process {team.local_rank} of this machine has no GPU of its own: PyTorch finds "
            f"{torch.cuda.device_count()}. Start as many processes as there are GPUs, or use --device cpu."
        )
    return torch.device("cuda", team.local_rank if team.size > 1 else torch.cuda.current_device())


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise UsageError(f"{name} = {text!r}: must be a number, as torchrun sets it.")
    return int(text)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
