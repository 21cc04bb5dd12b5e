"""Work whose pieces wait for one another, done by several threads as soon as it can be.

What lives here: the order. What does not: what is done (graph.py), what it is done with (workbench.py).
DuckDB and Polars leave Python's lock while they compute, so threads are enough; everything that decides or remembers
happens in the thread that asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

Task = TypeVar("Task", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """What a task is. Only the function that `start` gives runs in another thread.

    Of several tasks that can start, the one with the largest `urgency` does, then the one that could first.
    start: called once everything that the task waits for is finished; gives what is to be computed, None for nothing.
    finish: called with the result, before anything starts that waits for the task. pause: called between two starts,
    with a function that waits until nothing is being computed.
    """

    start: Callable[[Task], Callable[[], Result] | None]
    finish: Callable[[Task, Result], None]
    pause: Callable[[Callable[[], None]], None]
    urgency: Callable[[Task], int] = lambda _task: 0


def do(waits_for: Mapping[Task, Collection[Task]], work: Work[Task, Result], threads: int) -> None:
    """Do every task of `waits_for`, `threads` of them at once at most. The first error ends it, after what is under
    way."""
    order = TopologicalSorter(waits_for)
    order.prepare()
    ready: list[tuple[int, int, Task]] = []
    turns = count()
    under_way: dict[Future[Result], Task] = {}

    def settle(most: int) -> None:
        while len(under_way) > most:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                task = under_way.pop(future)
                work.finish(task, future.result())
                order.done(task)

    with ThreadPoolExecutor(threads) as pool:
        while order.is_active():
            for task in order.get_ready():
                heappush(ready, (-work.urgency(task), next(turns), task))
            if not ready:
                settle(len(under_way) - 1)
                continue
            work.pause(lambda: settle(0))
            _, _, task = heappop(ready)
            compute = work.start(task)
            if compute is None:
                order.done(task)
                continue
            under_way[pool.submit(compute)] = task
            settle(threads - 1)
