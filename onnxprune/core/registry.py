"""Named things that are found by package: criteria, allocators, ops, passes.

A registry imports every module of its package once, on first look-up, and then the modules
that installed distributions declare under the entry-point group `onnxprune.plugins`. Adding
a member is therefore adding a file.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from onnxprune.core.errors import InternalError, UsageError

__all__ = ["PLUGIN_GROUP", "Registry"]

PLUGIN_GROUP = "onnxprune.plugins"
T = TypeVar("T")


def _import_package(package: str) -> None:
    module = importlib.import_module(package)
    for info in pkgutil.iter_modules(module.__path__):
        importlib.import_module(f"{package}.{info.name}")


def _import_plugins() -> None:
    for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        entry.load()


def _file_of(member: object) -> str:
    module = sys.modules.get(getattr(member, "__module__", None) or type(member).__module__)
    return getattr(module, "__file__", None) or "?"


class Registry(Generic[T]):
    """A look-up table from names to members, filled by decorators.

    Args:
        kind: What a member is called in messages, for example "criterion".
        package: Import name of the package whose modules register members.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._members: dict[str, T] = {}
        self._files: dict[str, str] = {}
        self._loaded = False

    def register(self, *names: str) -> Callable[[T], T]:
        """Returns a decorator that files its target under each of `names`.

        Raises:
            InternalError: when a name is taken; both files are named.
        """

        def decorate(member: T) -> T:
            file = _file_of(member)
            for name in names:
                if name in self._members:
                    raise InternalError(
                        f"{self.kind} {name!r} is registered twice: in {self._files[name]} and in {file}"
                    )
                self._members[name] = member
                self._files[name] = file
            return member

        return decorate

    def load(self) -> None:
        """Imports the package's modules and the installed plugins, once."""
        if not self._loaded:
            self._loaded = True
            _import_package(self.package)
            _import_plugins()

    def get(self, name: str) -> T:
        """Returns the member called `name`.

        Raises:
            UsageError: when there is none; near names are listed.
        """
        self.load()
        if name in self._members:
            return self._members[name]
        near = difflib.get_close_matches(name, self._members, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UsageError(f"There is no {self.kind} called {name!r}.{hint} Known: {', '.join(self.names())}.")

    def find(self, name: str) -> T | None:
        """Returns the member called `name`, or None."""
        self.load()
        return self._members.get(name)

    def peek(self, name: str) -> T | None:
        """Returns the member called `name` among those registered so far, importing nothing."""
        return self._members.get(name)

    def names(self) -> list[str]:
        """Returns all names, sorted."""
        self.load()
        return sorted(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
