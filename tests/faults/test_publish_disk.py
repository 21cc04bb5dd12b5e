"""A disk that refuses while a snapshot is published: CURRENT is the old snapshot or the new one."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import PublishError
from pipelines.publish import commit, durable
from pipelines.publish.snapshot import current, list_snapshots, open_snapshot, publish, published_lines
from pipelines.settings import Settings

MART = "mart__feature_cost_daily"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(commit, "_smoke_read", lambda _layout, _line: None)
    return Settings(tmp_path / "home", datetime(2026, 3, 1, tzinfo=UTC), threads=1, memory_limit="1GB")


def _lake(settings: Settings, version: int) -> dict[str, list[Path]]:
    path = settings.lake / MART / "2026-01.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"cost_usd": pa.array([Decimal(version)], pa.decimal128(38, 12))}), path)
    return {MART: [path]}


def _live(settings: Settings) -> Decimal:
    with open_snapshot(settings) as connection:
        return Decimal(connection.execute(f"SELECT cost_usd FROM {MART}").fetchall()[0][0])


class FailingFsync:
    """os.fsync that refuses once, at its n-th call, and must not be called again on the same file."""

    def __init__(self, at_call: int) -> None:
        self.at_call = at_call
        self.calls = 0
        self.real = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        if self.calls == self.at_call:
            raise OSError(errno.EIO, "Input/output error")
        self.real(descriptor)


def test_fsync_refused_at_each_call_in_turn(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(settings, _lake(settings, 1), {})
    counting = FailingFsync(at_call=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counting)
        publish(settings, _lake(settings, 2), {})
    assert (
        counting.calls >= 8
    )  # parquet, database, manifest, three sealed files, two directories, snapshots, marts, line

    for call in range(1, counting.calls + 1):
        version = call + 2
        was = _live(settings)
        tables = _lake(settings, version)
        failing = FailingFsync(at_call=call)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(PublishError, match="the disk refused: Input/output error") as caught:
                publish(settings, tables, {})
        is_live = current(settings).manifest.tables[MART].money_sums["cost_usd"] == f"{version}.000000000000"
        assert _live(settings) == (version if is_live else was)
        assert ("is live" in caught.value.what) == is_live
        assert not list((settings.marts / "snapshots").glob(".tmp-*")), "the staging directory is discarded"
        publish(settings, tables, {})
        assert _live(settings) == version
        assert [line.snapshot_id for line in published_lines(settings)] == [
            snapshot.snapshot_id for snapshot in list_snapshots(settings)
        ]


def test_full_disk_while_copying_leaves_current_as_it_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(settings, _lake(settings, 1), {})

    def full(_source: Path, target: Path) -> str:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    tables = _lake(settings, 2)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "copy", full)
        with pytest.raises(PublishError, match="No space left on device; nothing was published"):
            publish(settings, tables, {})
    assert current(settings).snapshot_id == first.snapshot_id
    assert sorted(path.name for path in (settings.marts / "snapshots").iterdir()) == [first.snapshot_id]
    assert publish(settings, tables, {}).snapshot_id.startswith("000002-")


def test_file_of_the_lake_that_changes_under_the_copy_stops_the_publish(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = _lake(settings, 1)
    real = durable.copy

    def replaced_meanwhile(source: Path, target: Path) -> str:
        _lake(settings, 2)
        return real(source, target)

    monkeypatch.setattr(durable, "copy", replaced_meanwhile)
    with pytest.raises(PublishError, match="is not what was written there"):
        publish(settings, tables, {})
    assert list_snapshots(settings) == []


def test_staging_on_another_file_system_is_refused(settings: Settings, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system at /dev/shm")
    far = elsewhere / f"tokenmart-test-{os.getpid()}"
    far.mkdir()
    try:
        settings.marts.mkdir(parents=True)
        (settings.marts / "snapshots").symlink_to(far)
        with pytest.raises(PublishError, match="different file systems"):
            publish(settings, _lake(settings, 1), {})
        assert list(far.iterdir()) == []
    finally:
        far.rmdir()
