"""Working ahead: the next item of an iterator is made by another thread while the last one is being used.

What lives here: `ahead`. What does not: what the items are. It pays because Polars and DuckDB work outside the
interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")
_PATIENCE_SECONDS = 0.1


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items in the same order, one of them made in advance. What making one raises is raised here.

    When the consumer stops early, the thread ends with the item that it is making.
    """
    made: Queue[tuple[bool, Item | BaseException | None]] = Queue(maxsize=1)
    stopped = Event()

    def put(is_item: bool, what: Item | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                made.put((is_item, what), timeout=_PATIENCE_SECONDS)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  it is raised again where the items are used
            put(False, error)
        else:
            put(False, None)

    thread = Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, what = made.get()
            if is_item:
                yield what  # type: ignore[misc]
            elif isinstance(what, BaseException):
                raise what
            else:
                return
    finally:
        stopped.set()
        thread.join()
