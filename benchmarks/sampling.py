"""A sampling profiler of one process: which stage of the job and which of our functions each moment belongs to.

What lives here: the sampling thread, naming a stack, shares. What does not: the job, the page.
A moment belongs to what the main thread does; where it waits for threads of its own, it is shared among those at work.
Time inside Polars, DuckDB and Arrow counts for the function of ours that called them.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_EVERY = 0.005
_STAGES = (
    ("assets/ingest.py", "ingest"),
    ("assets/core.py", "merge"),
    ("assets/reference.py", "reference"),
    ("assets/rollup.py", "roll-up"),
    ("assets/publish.py", "publish"),
    ("assets/models.py", "tables"),
    ("pipelines/intake/", "ingest"),
    ("pipelines/core/", "merge"),
    ("pipelines/build/rollup_days.py", "roll-up"),
    ("pipelines/transforms/rollup.py", "roll-up"),
    ("pipelines/build/", "tables"),
    ("pipelines/publish/", "publish"),
)
_WAITING = {"wait", "_worker", "_wait_for_tstate_lock", "acquire", "join", "result", "get", "select", "poll"}
_WAITING_IN = ("threading.py", "queue.py", "selectors.py", "/concurrent/futures/")


def sampled(work: Callable[[], None]) -> dict[str, Any]:
    """Run `work` in this thread; share of the moments by stage, and by stage and function."""
    main = threading.get_ident()
    stages: Counter[str] = Counter()
    functions: Counter[tuple[str, str]] = Counter()
    done = threading.Event()

    def look() -> None:
        own = threading.get_ident()
        while not done.wait(_EVERY):
            frames = sys._current_frames()
            stacks = [list(_stack(frame)) for ident, frame in frames.items() if ident not in (main, own)]
            here = list(_stack(frames[main]))
            working = [stack for stack in stacks if not _waits(stack)] if _waits(here) else [here]
            stage = _stage(here)
            for stack in working or [here]:
                own_stage = stage if stage != "start and Dagster" else _stage(stack)
                weight = 1 / len(working or [here])
                stages[own_stage] += weight  # type: ignore[assignment]
                functions[own_stage, _function(stack)] += weight  # type: ignore[assignment]

    sampler = threading.Thread(target=look, daemon=True)
    started = time.perf_counter()
    sampler.start()
    try:
        work()
    finally:
        done.set()
        sampler.join()
    total = sum(stages.values()) or 1
    return {
        "seconds": time.perf_counter() - started,
        "samples": round(total),
        "stages": [[stage, count / total] for stage, count in stages.most_common()],
        "functions": [[*key, count / total] for key, count in functions.most_common(60)],
    }


def _stack(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """(file, function) from the innermost outwards."""
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_code.co_name
        frame = frame.f_back


def _waits(stack: list[tuple[str, str]]) -> bool:
    file, name = stack[0]
    return name in _WAITING and any(part in file for part in _WAITING_IN)


def _ours(file: str) -> str | None:
    """The path of one of our files below the project, or None."""
    for room in ("assets", "pipelines"):
        start = str(ROOT / room) + "/"
        if file.startswith(start):
            return f"{room}/{file.removeprefix(start)}"
    return None


def _stage(stack: list[tuple[str, str]]) -> str:
    """The outermost mark of a stage."""
    found = "start and Dagster"
    for file, _ in stack:
        ours = _ours(file)
        if ours is not None:
            found = next((stage for start, stage in _STAGES if ours.startswith(start)), found)
    return found


def _function(stack: list[tuple[str, str]]) -> str:
    """Our innermost function; else whose code it is."""
    if any("importlib" in file for file, _ in stack[:40]):
        return "loading modules"
    for file, name in stack:
        ours = _ours(file)
        if ours is not None:
            return f"{ours.removesuffix('.py')}: {name}"
        if "/site-packages/dagster" in file:
            return "Dagster"
    return "other libraries"
