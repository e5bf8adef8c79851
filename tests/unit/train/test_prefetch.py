"""Work ahead in a thread: order, errors, and an end."""

from __future__ import annotations

import threading

import pytest

from onnxprune.train.prefetch import Prefetch


def _threads() -> int:
    return sum(thread.name == "onnxprune-prefetch" for thread in threading.enumerate())


def test_items_come_in_order_from_another_thread():
    seen = set()

    def source():
        for number in range(20):
            seen.add(threading.current_thread().name)
            yield number

    with Prefetch(source()) as items:
        assert list(items) == list(range(20))
    assert seen == {"onnxprune-prefetch"}
    assert _threads() == 0


def test_error_comes_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise ValueError("third")

    found = []
    with pytest.raises(ValueError, match="third"), Prefetch(source()) as items:
        found.extend(items)
    with Prefetch(source()) as items:
        assert [next(items), next(items)] == [1, 2]


def test_leaving_early_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    def interrupted():
        with Prefetch(source()) as items:
            assert next(items) == 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert closed.is_set()
    assert _threads() == 0


def test_no_more_is_made_than_may_wait():
    made = []
    taken = threading.Semaphore(0)

    def source():
        for number in range(10):
            made.append(number)
            taken.release()
            yield number

    with Prefetch(source(), depth=2) as items:
        for _ in range(3):  # two wait, the third is in the maker's hand
            taken.acquire()
        assert len(made) == 3
        assert next(items) == 0
