"""Working ahead: the next item of an iterator is made by another thread while the last one is being used.

What lives here: `ahead`. What does not: what the items are. It pays because Polars and DuckDB work outside the
interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items in the same order, one of them made in advance. What making one raises is raised here.

    When the consumer stops early, the thread ends with the item that it is making.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as beside:
        coming = beside.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = beside.submit(next, iterator, _END)
            yield item  # type: ignore[misc]
