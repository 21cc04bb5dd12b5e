"""Work done by several threads: in order, each task once, and an error ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest

from pipelines.build.side_by_side import Work, do

DIAMOND: Mapping[str, list[str]] = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}


class _Log:
    """Work on names that notes what happens, and computes a name in capitals."""

    def __init__(self, nothing: frozenset[str] = frozenset(), fails: str = "") -> None:
        self.nothing = nothing
        self.fails = fails
        self.finished: list[tuple[str, str]] = []
        self.seen: dict[str, set[str]] = {}
        self.threads: set[int] = set()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def start(self, task: str) -> Callable[[], str] | None:
        self.seen[task] = {name for name, _ in self.finished}
        return None if task in self.nothing else lambda: self._compute(task)

    def _compute(self, task: str) -> str:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.threads.add(threading.get_ident())
        if task == self.fails:
            raise ValueError(task)
        with self._lock:
            self.at_once -= 1
        return task.upper()

    def work(self, pause: Callable[[Callable[[], None]], None] = lambda settle: None) -> Work[str, str]:
        return Work(self.start, lambda task, result: self.finished.append((task, result)), pause)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_each_task_is_done_once_and_after_what_it_waits_for(threads: int) -> None:
    log = _Log()
    do(DIAMOND, log.work(), threads)
    assert sorted(log.finished) == [("bottom", "BOTTOM"), ("left", "LEFT"), ("right", "RIGHT"), ("top", "TOP")]
    assert log.seen["top"] == set()
    assert log.seen["left"] >= {"top"}
    assert log.seen["bottom"] == {"top", "left", "right"}
    assert log.most_at_once <= threads
    assert threading.get_ident() not in log.threads


def test_a_task_with_nothing_to_do_lets_the_others_go_on() -> None:
    log = _Log(nothing=frozenset({"top", "left"}))
    do(DIAMOND, log.work(), 2)
    assert [name for name, _ in log.finished] == ["right", "bottom"]


def test_two_tasks_are_under_way_at_once() -> None:
    meet = threading.Barrier(2, timeout=20)
    work: Work[str, int] = Work(lambda _task: meet.wait, lambda _task, _result: None, lambda _settle: None)
    do({"one": [], "other": []}, work, 2)
    assert not meet.broken


def test_an_error_ends_it_and_nothing_that_waits_for_it_starts() -> None:
    log = _Log(fails="left")
    with pytest.raises(ValueError, match="left"):
        do(DIAMOND, log.work(), 2)
    assert "bottom" not in log.seen


def test_a_pause_can_wait_until_nothing_is_under_way() -> None:
    log = _Log()
    under_way: list[int] = []

    def pause(settle: Callable[[], None]) -> None:
        settle()
        under_way.append(log.at_once)

    do(DIAMOND, log.work(pause), 2)
    assert under_way == [0, 0, 0, 0]
    assert log.finished[0] == ("top", "TOP")


def test_the_most_urgent_of_those_that_can_start_does() -> None:
    log = _Log()
    work: Work[str, str] = Work(
        log.start, lambda task, result: log.finished.append((task, result)), lambda _: None, len
    )
    do({"a": [], "ccc": [], "bb": [], "dddd": ["a"], "x": []}, work, 1)
    assert [name for name, _ in log.finished] == ["ccc", "bb", "a", "dddd", "x"]
