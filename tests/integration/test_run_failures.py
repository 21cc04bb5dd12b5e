"""How a run fails: what stops a publish, what is tried again, and what the person at the terminal is told.

What lives here: false checks, unusable tables, a lake that is busy. What does not: bad files, which stop nothing
(test_cli_run.py), kills (tests/faults).
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import assets.checks
import assets.ingest
from assets.automation import tell_of_failed_runs
from assets.failures import RETRY_TRANSIENT, is_transient, plain_failures
from assets.listener import Listener
from assets.pipeline_run import run_job
from pipelines.errors import BusyError, CheckFailedError, FileRejectedError, ReferenceTableError, UsageError
from tests.integration.small_home import SmallHome, call, settings, use


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    made = use(tmp_path / "home", monkeypatch)
    made.land("response_log/a.jsonl", [call("2025-03-03T09:30:00Z", 1000, 300, request_id="r1")])
    return made


def test_a_false_sentence_stops_the_publish_and_is_named(home: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = assets.checks.checks_on_lake

    def one_is_false(*arguments: Any) -> Any:
        return [
            replace(outcome, failed_rows=2) if outcome.name == "no_token_count_is_negative" else outcome
            for outcome in asked(*arguments)
        ]

    monkeypatch.setattr(assets.checks, "checks_on_lake", one_is_false)
    with pytest.raises(CheckFailedError) as caught:
        run_job(settings(), "nightly", listener=Listener())
    assert caught.value.exit_code == 8
    assert "sql/checks/no_token_count_is_negative.sql" in caught.value.where
    assert "(2 rows)" in caught.value.what
    assert home.current is None


def test_an_unusable_reference_table_fails_at_once_with_its_own_error(
    home: SmallHome, capfd: pytest.CaptureFixture[str]
) -> None:
    home.rules("priority,field,pattern,feature\nten,feature_tag,support-*,Support\n")
    with pytest.raises(ReferenceTableError) as caught:
        run_job(settings(), "nightly", listener=Listener())
    assert caught.value.exit_code == 6
    assert str(home.path) not in str(caught.value)
    with dg.DagsterInstance.from_config(str(home.path / "dagster")) as instance:
        [run] = instance.get_runs()
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
        failed = next(event for event in events if event.event_type == dg.DagsterEventType.RUN_FAILURE)
        capfd.readouterr()
        tell_of_failed_runs(dg.build_run_status_sensor_context("failed", failed, instance, run).for_run_failure())
    assert [event.step_key for event in events if event.is_step_failure] == ["reference_tables"]
    assert not [event for event in events if event.is_step_up_for_retry]
    assert home.current is None
    said = "".join(capfd.readouterr())
    assert "nightly failed; nothing was published" in said
    assert "reference_tables: " in said
    assert "'ten'" in said, "the cell that is wrong"
    assert str(home.path) not in said


def test_a_busy_lake_is_tried_again_and_the_run_succeeds(home: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    ingest = assets.ingest.ingest

    def busy_once(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise BusyError("another run is writing this home's lake")
        return ingest(*arguments)

    monkeypatch.setattr(assets.ingest, "ingest", busy_once)
    listener = Listener()
    run_job(settings(), "nightly", listener=listener, only=["core__landed_files"])
    assert len(tries) == 2
    assert listener.intake is not None
    assert listener.intake.ingested == ["response_log/a.jsonl"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BusyError("held"), True),
        (BlockingIOError(11, "Resource temporarily unavailable"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("no such table: files"), False),
        (FileNotFoundError(2, "No such file or directory"), False),
        (OSError(28, "No space left on device"), False),
        (UsageError("no day"), False),
        (FileRejectedError("broken", code="not_json"), False),
        (ValueError("bug"), False),
    ],
    ids=lambda value: f"{type(value).__name__} {value}" if isinstance(value, Exception) else "",
)
def test_only_what_may_pass_by_itself_is_tried_again(error: Exception, expected: bool) -> None:
    assert is_transient(error) is expected


def test_retries_wait_longer_each_time() -> None:
    assert RETRY_TRANSIENT.backoff == dg.Backoff.EXPONENTIAL
    assert RETRY_TRANSIENT.max_retries == 3


def test_a_failure_never_tells_where_the_home_is(home: SmallHome) -> None:
    with pytest.raises(dg.Failure) as caught, plain_failures(settings()):
        raise FileNotFoundError(2, "No such file or directory", str(home.path / "lake" / "x.parquet"))
    failure = caught.value
    assert failure.allow_retries is False
    assert "<home>/lake/x.parquet" in (failure.description or "")
    assert str(home.path) not in f"{failure.description} {failure.metadata} {failure.__cause__}"
