"""Retention of marts.duckdb: which databases may go, and what never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.publish.snapshot import list_snapshots, open_snapshot, publish, rollback
from pipelines.settings import Settings

START = datetime(2026, 3, 1, 2, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("without_smoke")


def _publish(settings: Settings, marts, number: int, every: timedelta, closed: tuple[str, ...] = ()) -> str:
    clock = replace(settings, fixed_now=START + number * every)
    tables = marts({"2026-01": [("2026-01-01", "chat", number, "1")]})
    return publish(clock, tables, {"closed_periods": list(closed)}).snapshot_id


def _with_database(settings: Settings) -> list[int]:
    return [int(snapshot.snapshot_id[:6]) for snapshot in list_snapshots(settings) if snapshot.has_database]


def test_daily_publishing_keeps_the_newest_seven_and_all_parquet(settings: Settings, marts) -> None:
    for number in range(10):
        _publish(settings, marts, number, timedelta(days=1))
    assert _with_database(settings) == [4, 5, 6, 7, 8, 9, 10]
    assert all((s.path / "mart__feature_cost_daily/2026-01.parquet").is_file() for s in list_snapshots(settings))
    with open_snapshot(settings, START) as connection:
        assert connection.execute("SELECT total_tokens FROM mart__feature_cost_daily").fetchall() == [(0,)]


def test_many_snapshots_in_two_days_all_keep_their_database(settings: Settings, marts) -> None:
    # hourly: the tenth goes live nine hours after the first, far inside 48 hours
    for number in range(10):
        _publish(settings, marts, number, timedelta(hours=1))
    assert _with_database(settings) == list(range(1, 11))


def test_48_hours_count_from_when_a_snapshot_was_replaced(settings: Settings, marts) -> None:
    # 9 snapshots, 6 hours apart: the first was replaced at hour 6; at hour 54, exactly 48 hours later, it may go
    for number in range(9):
        _publish(settings, marts, number, timedelta(hours=6))
    assert 1 in _with_database(settings)
    _publish(settings, marts, 9, timedelta(hours=6))
    assert _with_database(settings) == list(range(2, 11))


def test_month_close_keeps_its_database(settings: Settings, marts) -> None:
    _publish(settings, marts, 0, timedelta(days=1))
    _publish(settings, marts, 1, timedelta(days=1), closed=("2026-01",))
    for number in range(2, 10):
        _publish(settings, marts, number, timedelta(days=1), closed=("2026-01",))
    # only the snapshot that closed January is a month close; those after it merely still know it as closed
    assert _with_database(settings) == [2, 4, 5, 6, 7, 8, 9, 10]


def test_snapshot_that_current_points_at_after_a_rollback_keeps_its_database(settings: Settings, marts) -> None:
    first = _publish(settings, marts, 0, timedelta(days=1))
    for number in range(1, 8):
        _publish(settings, marts, number, timedelta(days=1))
    assert 1 not in _with_database(settings)
    rollback(replace(settings, fixed_now=START + timedelta(days=30)), first)
    assert 1 in _with_database(settings)
    rollback(replace(settings, fixed_now=START + timedelta(days=60)), "8")
    assert 1 in _with_database(settings), "it was live until this moment"
