"""What one suite measured: runs by program, single facts, what was left out and why; and its file.

What lives here: collecting, printing a line as it comes, JSON. What does not: measuring (measure.py), what a figure is
compared with (targets.py), the page (report.py).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Run, middle

PACKAGES = ("polars", "duckdb", "pandera", "pyarrow", "dagster")
RESULTS = Path(__file__).with_name("results")


@dataclass
class Figures:
    """One suite: `rows` is what a program handles in one run; `facts` are single values with a name."""

    suite: str
    title: str
    rows: dict[str, int] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, run: Run, rows: int | None = None) -> None:
        """Keep a run and tell of it."""
        self.runs.setdefault(name, []).append(run)
        if rows is not None:
            self.rows[name] = rows
        told = "  ".join(
            f"{key} {_short(value)}" for key, value in run.told.items() if not isinstance(value, dict | list)
        )
        print(
            f"  {name:36s} {run.wall:8.2f} s {run.cpu:8.2f} cpu s {run.peak_bytes / 1e9:6.2f} GB"
            + (f"   itself: {told}" if told else ""),
            flush=True,
        )

    def state(self, name: str, value: object) -> None:
        """Keep a fact and tell of it."""
        self.facts[name] = value
        if not isinstance(value, dict | list):
            print(f"  {name}: {_short(value)}", flush=True)

    def skip(self, name: str, reason: str) -> None:
        """Note that a program was not measured, and why."""
        if name not in self.skipped:
            print(f"  {name}: skipped, {reason}", flush=True)
        self.skipped[name] = reason

    def record(self) -> dict[str, Any]:
        """The suite as report.py and targets.py read it."""
        programs = {}
        for name, runs in self.runs.items():
            programs[name] = {**asdict(middle(runs)), "runs": len(runs), "rows": self.rows.get(name)}
        return {
            "suite": self.suite,
            "title": self.title,
            "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": machine(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
            "programs": programs,
            "facts": self.facts,
            "skipped": self.skipped,
        }


def keep(record: dict[str, Any], folder: Path) -> None:
    """Write one suite's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['suite']}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kept(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Suite → its record; a later folder goes before an earlier one."""
    found = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            found[record["suite"]] = record
    return found


def machine() -> str:
    """Processors, memory and file system in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} × {_processor()}, {memory:.0f} GB, {platform.system()} {platform.release().split('-')[0]}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def reason_of(error: subprocess.CalledProcessError | OSError) -> str:
    """The last words of a program that could not be run, in one short line."""
    said = getattr(error, "stderr", None) or getattr(error, "output", None) or str(error)
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__


def _short(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
