"""kill -9 at any moment of intake and merge: the next run gives what an undisturbed one gives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.lake_state import call, core_state, home_settings, land, take_in

ROOT = Path(__file__).resolve().parents[2]
DELAYS = (0.02, 0.08, 0.15, 0.25, 0.4)


@pytest.mark.slow
def test_a_killed_run_is_completed_by_the_next(tmp_path):
    home = home_settings(tmp_path / "home")
    days = [f"2026-06-0{day}T{hour:02d}:59:59Z" for day in range(1, 5) for hour in range(24)]
    for file in range(4):
        land(
            home,
            f"usage_table/{file}.jsonl",
            [call(f"r{n % 70}", at, output_tokens=file % 2) for n, at in enumerate(days)],
        )
    undisturbed = home_settings(tmp_path / "undisturbed")
    shutil.copytree(home.landing, undisturbed.landing)
    take_in(undisturbed)
    was_killed = []
    for delay in DELAYS:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.ingesting_process", str(home.home)],
            cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        was_killed.append(child.wait() == -signal.SIGKILL)
        child.stdout.close()
    assert any(was_killed)
    take_in(home)
    assert core_state(home) == core_state(undisturbed)
