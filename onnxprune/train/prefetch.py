"""Work done ahead in a thread: the next batches are made while the current one is trained on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Prefetch"]

T = TypeVar("T")

_PATIENCE_SECONDS = 0.1
_FAREWELL_SECONDS = 5.0


class _End:
    """Stands at the end of the queue, with what went wrong, if anything."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Prefetch(Generic[T]):
    """A context that yields what `source` yields, in its order, worked out ahead.

    What the source raises is raised here, after the items before it. The thread ends with the
    context, whether the items were used up or not.

    Args:
        source: Advanced in another thread only.
        depth: How many items may wait.
    """

    def __init__(self, source: Iterator[T], depth: int = 2) -> None:
        self._source = source
        self._ready: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="onnxprune-prefetch", daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._items()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # a source that hangs (a user's callable) must not hold up an interrupt for ever
        self._thread.join(_FAREWELL_SECONDS)

    def _items(self) -> Iterator[T]:
        while True:
            item = self._ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._source:
                if not self._put(item):
                    break
        except BaseException as caught:  # noqa: BLE001 - it is raised again where the items are used
            error = caught
        close = getattr(self._source, "close", None)
        if close is not None and error is None:
            close()
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Waits for room; returns whether there was any before the context ended."""
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=_PATIENCE_SECONDS)
            except queue.Full:
                continue
            return True
        return False
