"""Measuring a program in a fresh process: seconds of wall and of processor, and peak memory, from the kernel's account.

What lives here: one run of one command, medians of several. What does not: which commands (the suites), what they
print (programs.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

MARK = "MEASURED "
"""A program that tells figures of its own prints one line: this word and a JSON object."""
_LOOK_EVERY = 0.02
_FAMILY_EVERY = 0.1


@dataclass(frozen=True)
class Run:
    """One run: wall seconds, user and system seconds and peak memory of all its processes, in bytes.

    `processes` counts those that it started in its turn and that lived for a tenth of a second; `told` holds the
    program's own figures.
    """

    wall: float
    cpu: float
    peak_bytes: int
    processes: int = 0
    told: dict[str, Any] = field(default_factory=dict, compare=False)


def run_fresh(command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Run:
    """Run a command to its end. Raises CalledProcessError, with what it wrote, when it fails.

    The peak of one process is the kernel's high-water mark, looked at every 20 ms: what getrusage tells of a child
    includes the memory of its parent before the child's own program was loaded. Where it has children of its own, the
    peak is the largest sum of what all of them held at one moment, looked at every tenth of a second, if that is more.
    """
    with tempfile.TemporaryFile() as written:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, cwd=folder,
            env={**_inherited(), **(environment or {})},
        )  # fmt: skip
        peak, ended, family_at = 0, 0, started
        others: set[int] = set()
        while not ended:
            peak = max(peak, _status(child.pid, "VmHWM"))
            if time.perf_counter() >= family_at:
                family_at += _FAMILY_EVERY
                family = list(_descendants(child.pid))
                others.update(family)
                if family:
                    peak = max(peak, sum(_status(pid, "VmRSS") for pid in (child.pid, *family)))
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if not ended:
                time.sleep(_LOOK_EVERY)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        written.seek(0)
        text = written.read().decode(errors="replace")
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, output=text[-4000:])
    return Run(wall, usage.ru_utime + usage.ru_stime, peak or usage.ru_maxrss * 1024, len(others), _told(text))


def _inherited() -> dict[str, str]:
    """The environment without what would steer the product: a benchmark says itself what it sets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TOKENMART_", "DAGSTER_"))}


@contextmanager
def timed() -> Iterator[Callable[..., None]]:
    """Within a program: `say(**figures)` prints them with the seconds of wall and processor since the block began."""
    wall, cpu = time.perf_counter(), time.process_time()

    def say(**figures: object) -> None:
        own = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, **figures}
        print(MARK + json.dumps(own), flush=True)

    yield say


def _told(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith(MARK)]
    return json.loads(lines[-1].removeprefix(MARK)) if lines else {}


def _status(pid: int, name: str) -> int:
    """A memory figure of a process in bytes; 0 once it is gone, and where there is no /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), 0)


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(number) for number in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _descendants(child)


def middle(runs: Sequence[Run]) -> Run:
    """The median of each figure; what was told is that of the last run."""
    return Run(
        median(run.wall for run in runs),
        median(run.cpu for run in runs),
        int(median(run.peak_bytes for run in runs)),
        max(run.processes for run in runs),
        runs[-1].told,
    )


def warm(paths: Sequence[Path]) -> None:
    """Read files once, so that the disk is the same for every program."""
    for path in paths:
        with path.open("rb") as stream:
            while stream.read(1 << 24):
                pass
