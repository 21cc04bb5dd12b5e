"""A publisher killed at every step, under readers: they see whole snapshots only, and the next one recovers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.publish import commit
from pipelines.publish.commit import STEPS
from pipelines.publish.snapshot import current, list_snapshots, open_snapshot, publish, published_lines, rollback
from pipelines.settings import Settings

HERE = Path(__file__).resolve().parent
DAILY, MONTHLY = "mart__feature_cost_daily", "mart__feature_cost_monthly"
BEFORE_THE_COMMIT = STEPS[: STEPS.index("committed")]
MONEY = pa.decimal128(38, 12)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(commit, "_smoke_read", lambda _layout, _line: None)
    return Settings(tmp_path / "home", datetime(2026, 3, 1, tzinfo=UTC), threads=1, memory_limit="1GB")


def _write_lake(settings: Settings, version: int) -> dict[str, list[Path]]:
    """Two marts that agree: January is always 1.5 dollars, February is `version` dollars in two features."""
    files = {
        (DAILY, "2026-01"): [Decimal("1.5")],
        (DAILY, "2026-02"): [Decimal(version) - Decimal("0.25"), Decimal("0.25")],
        (MONTHLY, "all"): [Decimal("1.5") + version],
    }
    tables: dict[str, list[Path]] = {}
    for (mart, partition), amounts in files.items():
        path = settings.lake / mart / f"{partition}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"effective_cost_usd": pa.array(amounts, MONEY)}), path)
        tables.setdefault(mart, []).append(path)
    return tables


def _killed(settings: Settings, step: str, *action: str) -> None:
    command = [sys.executable, str(HERE / "publisher_process.py"), str(settings.home), step, *action]
    outcome = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr


def _live_sum(settings: Settings) -> Decimal:
    with open_snapshot(settings) as connection:
        rows = connection.execute(
            f"SELECT sum(effective_cost_usd), (SELECT sum(effective_cost_usd) FROM {MONTHLY}) FROM {DAILY}"
        )
        by_feature, by_month = rows.fetchall()[0]
    assert by_feature == by_month
    return by_feature


def _assert_tidy(settings: Settings) -> None:
    """Nothing half-made stands; the journal's last line is CURRENT; every snapshot has its line."""
    names = {path.name for path in settings.marts.iterdir()}
    assert names == {".lock", "CURRENT", "published.jsonl", "snapshots"}
    stored = [json.loads(line)["snapshot_id"] for line in (settings.marts / "published.jsonl").read_text().splitlines()]
    assert stored[-1] == current(settings).snapshot_id
    assert len(stored) == len(published_lines(settings)), "no line is owed"
    standing = sorted(path.name for path in (settings.marts / "snapshots").iterdir())
    assert standing == sorted(set(stored))
    for snapshot in list_snapshots(settings):
        inside = {path.name for path in snapshot.path.iterdir()}
        assert inside == {"marts.duckdb", "MANIFEST.json", DAILY, MONTHLY}


@contextmanager
def _readers(settings: Settings, folder: Path, count: int) -> Iterator[list[dict[str, object]]]:
    """Reader processes around the block; their reports stand in the list when it ends."""
    stop = folder / "stop"
    reports = [folder / f"report-{number}.json" for number in range(count)]
    script = str(HERE / "reader_process.py")
    processes = [
        subprocess.Popen([sys.executable, script, str(settings.home), str(stop), str(report)]) for report in reports
    ]
    found: list[dict[str, object]] = []
    try:
        yield found
    finally:
        stop.touch()
        for process in processes:
            process.wait(30)
    found.extend(json.loads(report.read_text()) for report in reports)


def test_publisher_killed_at_every_step_under_readers(settings: Settings, tmp_path: Path) -> None:
    publish(settings, _write_lake(settings, 1), {})
    with _readers(settings, tmp_path, 2) as reports:
        for version, step in enumerate(STEPS, start=2):
            before, was = current(settings).snapshot_id, _live_sum(settings)
            tables = _write_lake(settings, version)
            _killed(settings, step, "publish")

            is_live = step not in BEFORE_THE_COMMIT
            new = Decimal("1.5") + version
            assert _live_sum(settings) == (new if is_live else was), step
            assert (current(settings).snapshot_id != before) == is_live, step

            recovered = publish(settings, tables, {})
            assert recovered.is_new != is_live, step
            assert recovered.snapshot_id.startswith(f"{version:06d}-"), "no number is skipped or used twice"
            assert _live_sum(settings) == new
            _assert_tidy(settings)
    for report in reports:
        assert report["errors"] == []
        assert report["reads"] >= len(STEPS)
        assert report["snapshots"] >= 2


@pytest.mark.parametrize("step", ["swept", "link_made", "committed", "journalled"])
def test_rollback_killed_at_a_step_leaves_one_live_snapshot(settings: Settings, step: str) -> None:
    first = publish(settings, _write_lake(settings, 1), {}).snapshot_id
    second = publish(settings, _write_lake(settings, 2), {}).snapshot_id
    _killed(settings, step, "rollback", first)
    is_live = step not in BEFORE_THE_COMMIT
    assert current(settings).snapshot_id == (first if is_live else second)
    assert published_lines(settings)[-1].snapshot_id == current(settings).snapshot_id

    rollback(settings, first)
    assert [(line.reason, line.snapshot_id) for line in published_lines(settings)] == [
        ("publish", first),
        ("publish", second),
        ("rollback", first),
    ]
    _assert_tidy(settings)


def test_orphan_that_a_kill_left_is_not_listed_and_not_lost_data(settings: Settings) -> None:
    first = publish(settings, _write_lake(settings, 1), {}).snapshot_id
    tables = _write_lake(settings, 2)
    _killed(settings, "renamed", "publish")
    assert len(list((settings.marts / "snapshots").iterdir())) == 2
    assert [snapshot.snapshot_id for snapshot in list_snapshots(settings)] == [first]
    assert publish(settings, tables, {}).is_new
    _assert_tidy(settings)


def test_very_first_publish_killed_just_before_the_commit(settings: Settings) -> None:
    tables = _write_lake(settings, 1)
    _killed(settings, "link_made", "publish")
    assert list_snapshots(settings) == []
    assert publish(settings, tables, {}).snapshot_id.startswith("000001-")
    _assert_tidy(settings)
