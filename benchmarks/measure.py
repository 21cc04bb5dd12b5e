"""Measuring a program in a fresh process: seconds of wall and of processor, and peak memory, from the kernel's account.

What lives here: one run of one command. What does not: which commands (run.py), what they print.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Run:
    """One run: wall seconds, user and system seconds of all its processes, peak memory of the largest one in bytes."""

    wall: float
    cpu: float
    peak_bytes: int


def run_fresh(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end. Raises CalledProcessError, with what it wrote, when it fails.

    The peak is the kernel's high-water mark of the process, looked at every 20 ms: what getrusage tells of a child
    includes the memory of its parent before the child's own program was loaded.
    """
    with tempfile.TemporaryFile() as written:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        peak, ended = 0, 0
        while not ended:
            peak = max(peak, _high_water(child.pid))
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if not ended:
                time.sleep(0.02)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            written.seek(0)
            text = written.read().decode(errors="replace")[-4000:]
            raise subprocess.CalledProcessError(child.returncode, command, output=text)
    return Run(wall, usage.ru_utime + usage.ru_stime, peak or usage.ru_maxrss * 1024)


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def middle(runs: Sequence[Run]) -> Run:
    """The median of each figure."""
    return Run(
        median(run.wall for run in runs), median(run.cpu for run in runs), int(median(run.peak_bytes for run in runs))
    )


def warm(paths: Sequence[Path]) -> None:
    """Read files once, so that the disk is the same for every program."""
    for path in paths:
        with path.open("rb") as stream:
            while stream.read(1 << 24):
                pass
