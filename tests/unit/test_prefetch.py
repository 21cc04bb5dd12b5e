"""Working ahead: the same items, errors where they belong, and no thread left behind."""

from __future__ import annotations

import threading

import pytest

from pipelines.prefetch import ahead


def running() -> int:
    return sum(thread.name.startswith("ahead") for thread in threading.enumerate())


def test_items_come_in_their_order():
    assert list(ahead(range(1000))) == list(range(1000))
    assert list(ahead([])) == []
    assert running() == 0


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("third")

    seen = []
    with pytest.raises(ValueError, match="third"):
        seen.extend(iter_into(ahead(items()), seen))
    assert seen == [1, 2]
    assert running() == 0


def iter_into(source, seen):
    for item in source:
        seen.append(item)
    return []


def test_a_consumer_that_stops_leaves_no_thread_and_closes_the_source():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    source = items()
    working = ahead(source)
    assert next(working) == 0
    working.close()
    source.close()
    assert (running(), closed) == (0, [True])


def test_one_item_is_made_in_advance_and_no_more():
    made = []

    def items():
        for number in range(10):
            made.append(number)
            yield number

    working = ahead(items())
    next(working)
    threading.Event().wait(0.05)
    assert len(made) <= 3
    working.close()
