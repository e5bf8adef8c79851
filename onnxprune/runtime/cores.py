"""How many cores this process may compute on."""

from __future__ import annotations

import functools
import os
from pathlib import Path

__all__ = ["usable_cores"]

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@functools.cache
def usable_cores() -> int:
    """Returns the number of physical cores this process may run on; hyper-threads of a core count once.

    Where the system does not tell which hyper-threads share a core, each counts as one.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({_core(cpu) for cpu in os.sched_getaffinity(0)})


def _core(cpu: int) -> str:
    try:
        return Path(_SIBLINGS.format(cpu)).read_text()
    except OSError:
        return str(cpu)
