"""Finding and opening snapshots: CURRENT, as-of, the list, rolling back, what a connection may do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from pipelines.errors import NotFoundError, PublishError, UsageError
from pipelines.publish.layout import Layout
from pipelines.publish.snapshot import (
    current,
    list_snapshots,
    open_snapshot,
    publish,
    published_lines,
    rollback,
    snapshot_at,
)
from pipelines.settings import Settings

FEATURES = "mart__feature_cost_daily"
MARCH_FIRST = datetime(2026, 3, 1, 2, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("without_smoke")


@pytest.fixture
def three(settings: Settings, marts) -> list[str]:
    """Three snapshots, published on 1, 2 and 3 March at 02:00 UTC, of 100, 200 and 300 tokens."""
    names = []
    for day in range(3):
        tables = marts({"2026-01": [("2026-01-01", "chat", 100 * (day + 1), "1")]})
        clock = replace(settings, fixed_now=MARCH_FIRST + timedelta(days=day))
        names.append(publish(clock, tables, {}).snapshot_id)
    return names


def _tokens(settings: Settings, as_of: datetime | None = None) -> int:
    with open_snapshot(settings, as_of) as connection:
        return int(connection.execute(f"SELECT sum(total_tokens) FROM {FEATURES}").fetchall()[0][0])


def test_home_without_snapshot_says_what_to_run(settings: Settings) -> None:
    for ask in (current, open_snapshot):
        with pytest.raises(NotFoundError) as caught:
            ask(settings)
        assert "tokenmart run" in caught.value.next_move
        assert "tokenmart demo" in caught.value.next_move
    with pytest.raises(NotFoundError):
        snapshot_at(settings, MARCH_FIRST)
    with pytest.raises(NotFoundError):
        rollback(settings, "000001-000000000000")
    assert list_snapshots(settings) == []


def test_asking_an_absent_home_creates_nothing(settings: Settings) -> None:
    with pytest.raises(NotFoundError):
        open_snapshot(settings)
    assert not settings.home.exists()


def test_list_is_oldest_first_and_marks_the_live_one(settings: Settings, three: list[str]) -> None:
    found = list_snapshots(settings)
    assert [snapshot.snapshot_id for snapshot in found] == three
    assert [snapshot.is_current for snapshot in found] == [False, False, True]
    assert [snapshot.published_at.day for snapshot in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("instant", "tokens"),
    [
        ("2026-03-01T02:00:00Z", 100),
        ("2026-03-02T01:59:59Z", 100),
        ("2026-03-02T02:00:00Z", 200),
        ("2026-03-02T03:00:00+02:00", 100),
        ("2027-01-01T00:00:00Z", 300),
    ],
)
def test_as_of_reads_what_was_live_then(settings: Settings, three: list[str], instant: str, tokens: int) -> None:
    assert _tokens(settings, datetime.fromisoformat(instant)) == tokens


def test_as_of_before_the_first_publish_is_not_found(settings: Settings, three: list[str]) -> None:
    with pytest.raises(NotFoundError, match="nothing was published by 2026-03-01T01:59:59Z") as caught:
        open_snapshot(settings, datetime(2026, 3, 1, 1, 59, 59, tzinfo=UTC))
    assert "2026-03-01T02:00:00Z" in caught.value.expected


def test_as_of_without_a_zone_is_refused(settings: Settings, three: list[str]) -> None:
    with pytest.raises(UsageError, match="no zone"):
        open_snapshot(settings, datetime(2026, 3, 2))  # noqa: DTZ001 -- the situation under test


def test_as_of_an_expired_database_reads_its_canonical_parquet(settings: Settings, three: list[str]) -> None:
    (Layout.of(settings).snapshot(three[0]) / "marts.duckdb").unlink()
    with open_snapshot(settings, MARCH_FIRST) as connection:
        rows = connection.execute(f"SELECT total_tokens, _snapshot_id FROM {FEATURES}").fetchall()
        empty = connection.execute("SELECT count(*) FROM mart__data_status").fetchall()
        with pytest.raises(duckdb.Error, match="disabled"):
            connection.execute("SELECT * FROM read_text('/etc/passwd')")
    assert rows == [(100, three[0])]
    assert empty == [(0,)]


def test_as_of_an_expired_database_with_damaged_parquet_is_refused(settings: Settings, three: list[str]) -> None:
    directory = Layout.of(settings).snapshot(three[0])
    (directory / "marts.duckdb").unlink()
    canonical = directory / FEATURES / "2026-01.parquet"
    canonical.chmod(0o644)
    canonical.write_bytes(canonical.read_bytes()[:-1])
    with pytest.raises(PublishError, match="not what was published"):
        open_snapshot(settings, MARCH_FIRST)


def test_reader_stays_on_its_snapshot_while_another_goes_live(settings: Settings, marts) -> None:
    publish(settings, marts({"2026-01": [("2026-01-01", "chat", 1, "1")]}), {})
    with open_snapshot(settings) as connection:
        publish(settings, marts({"2026-01": [("2026-01-01", "chat", 2, "1")]}), {})
        assert connection.execute(f"SELECT total_tokens FROM {FEATURES}").fetchall() == [(1,)]
        assert _tokens(settings) == 2


def test_two_connections_to_one_snapshot_live_side_by_side(settings: Settings, three: list[str]) -> None:
    with open_snapshot(settings) as first, open_snapshot(settings) as second:
        for connection in (first, second):
            assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_rollback_makes_an_older_snapshot_live_and_is_recorded(settings: Settings, three: list[str]) -> None:
    clock = replace(settings, fixed_now=MARCH_FIRST + timedelta(days=5))
    outcome = rollback(clock, three[0])
    assert (outcome.is_new, outcome.snapshot_id) == (True, three[0])
    assert current(settings).snapshot_id == three[0]
    assert _tokens(settings) == 100
    last = published_lines(settings)[-1]
    assert (last.reason, last.snapshot_id, last.previous) == ("rollback", three[0], three[2])
    assert _tokens(settings, MARCH_FIRST + timedelta(days=4)) == 300
    assert _tokens(settings, MARCH_FIRST + timedelta(days=6)) == 100


def test_rollback_to_the_live_snapshot_changes_nothing(settings: Settings, three: list[str]) -> None:
    assert not rollback(settings, three[2]).is_new
    assert len(published_lines(settings)) == 3


def test_publish_after_rollback_takes_the_next_number_and_the_live_parent(
    settings: Settings, marts, three: list[str]
) -> None:
    rollback(settings, three[0])
    published = publish(settings, marts({"2026-01": [("2026-01-01", "chat", 300, "1")]}), {})
    assert published.snapshot_id.startswith("000004-")
    assert published.snapshot_id[7:] == three[2][7:]  # the same content as the third, live again under a new number
    assert published.parent == three[0]


@pytest.mark.parametrize("wanted", ["2", "000002", "000002-"])
def test_rollback_takes_the_number_a_snapshot_begins_with(settings: Settings, three: list[str], wanted: str) -> None:
    assert rollback(settings, wanted).snapshot_id == three[1]


@pytest.mark.parametrize("wanted", ["9", "", "00000", "../../etc", "000001-ffffffffffff"])
def test_rollback_to_what_does_not_exist_is_not_found(settings: Settings, three: list[str], wanted: str) -> None:
    with pytest.raises(NotFoundError):
        rollback(settings, wanted)
    assert current(settings).snapshot_id == three[2]


def test_rollback_to_an_expired_database_rebuilds_it(settings: Settings, three: list[str]) -> None:
    directory = Layout.of(settings).snapshot(three[0])
    (directory / "marts.duckdb").unlink()
    rollback(settings, three[0])
    assert current(settings).has_database
    with duckdb.connect(str(directory / "marts.duckdb"), read_only=True) as connection:
        assert connection.execute(f"SELECT total_tokens, _snapshot_id FROM {FEATURES}").fetchall() == [(100, three[0])]
    assert (directory / "marts.duckdb").stat().st_mode & 0o777 == 0o444


def test_rollback_to_damaged_parquet_is_refused_and_current_stays(settings: Settings, three: list[str]) -> None:
    directory = Layout.of(settings).snapshot(three[0])
    (directory / "marts.duckdb").unlink()
    (directory / FEATURES / "2026-01.parquet").unlink()
    with pytest.raises(PublishError, match="not what was published"):
        rollback(settings, three[0])
    assert current(settings).snapshot_id == three[2]


def test_damaged_database_is_reported_without_a_home_path(settings: Settings, three: list[str]) -> None:
    database = Layout.of(settings).snapshot(three[2]) / "marts.duckdb"
    database.chmod(0o644)
    database.write_bytes(b"no database")
    with pytest.raises(PublishError, match="cannot be opened") as caught:
        open_snapshot(settings)
    assert str(settings.home) not in str(caught.value)


def test_unfinished_last_journal_line_is_ignored_and_cut_off_by_the_next(
    settings: Settings, marts, three: list[str]
) -> None:
    journal = settings.marts / "published.jsonl"
    whole = journal.read_text()
    journal.write_text(whole + '{"published_at": "2026-')
    assert len(published_lines(settings)) == 3
    publish(settings, marts({"2026-01": [("2026-01-01", "chat", 7, "1")]}), {})
    assert journal.read_text().startswith(whole)
    assert [line.snapshot_id[:6] for line in published_lines(settings)] == ["000001", "000002", "000003", "000004"]


def test_missing_journal_line_counts_before_it_is_recovered(settings: Settings, three: list[str]) -> None:
    journal = settings.marts / "published.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:2]))
    assert _tokens(settings, MARCH_FIRST + timedelta(days=2)) == 300
    assert published_lines(settings)[-1].recovered


def test_journal_line_that_is_garbled_is_named(settings: Settings, three: list[str]) -> None:
    journal = settings.marts / "published.jsonl"
    journal.write_text("what is this\n" + journal.read_text())
    with pytest.raises(PublishError) as caught:
        published_lines(settings)
    assert caught.value.where == "marts/published.jsonl, line 1"


def test_lost_journal_costs_no_snapshot(settings: Settings, marts, three: list[str]) -> None:
    rollback(settings, three[1])
    (settings.marts / "published.jsonl").unlink()
    publish(settings, marts({"2026-01": [("2026-01-01", "chat", 9, "1")]}), {})
    assert [snapshot.snapshot_id for snapshot in list_snapshots(settings)][:3] == three
