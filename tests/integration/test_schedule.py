"""The nightly schedule fires in Dagster's own daemon and publishes.

What lives here: one home, the daemon as a process of its own, a tick that is due. What does not: what a night computes.
The schedule is switched on as a person would, and its start is set back by a day: so the 03:00 tick of the last 24
hours is due at once, as after a machine that was down at night, and nobody has to wait for 03:00.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from assets.dagster_home import open_instance
from tests.integration.small_home import call, settings, use

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 150


def dagster_command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@pytest.mark.slow
def test_the_nightly_schedule_fires_and_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = use(tmp_path / "home", monkeypatch)
    home.land("response_log/a.jsonl", [call("2025-03-03T09:30:00Z", 1000, 300, cached=200, request_id="r1")])
    home.rules()
    with open_instance(settings()):
        pass
    monkeypatch.setenv("DAGSTER_HOME", str(home.path / "dagster"))
    started = subprocess.run(
        [dagster_command("dagster"), "schedule", "start", "every_night", "-w", "workspace.yaml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    with open_instance(settings()) as instance:
        [state] = instance.all_instigator_state()
        assert state.is_running
        yesterday = time.time() - 24 * 3600 + 60
        instance.update_instigator_state(
            state.with_data(ScheduleInstigatorData(state.instigator_data.cron_schedule, yesterday))
        )
    said = tmp_path / "daemon.log"
    with said.open("w") as log:
        daemon = subprocess.Popen(
            [dagster_command("dagster-daemon"), "run", "-w", "workspace.yaml"],
            cwd=ROOT, env=dict(os.environ), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and daemon.poll() is None and not finished(home.path):
            time.sleep(0.5)
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(timeout=30)
    assert home.current is not None, said.read_text()[-4000:]
    assert [row["feature"] for row in home.mart("mart__feature_cost_daily")] == ["Support assistant"]
    with open_instance(settings()) as instance:
        [run] = instance.get_runs()
        [tick] = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    assert run.job_name == "nightly"
    assert run.tags["dagster/schedule_name"] == "every_night"
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert tick.is_success
    assert tick.run_ids == [run.run_id]


def finished(home: Path) -> bool:
    """True when the run of the tick has ended, well or not."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return any(run.is_finished for run in instance.get_runs())
