"""Publishing a snapshot: what is written, what goes live, what is left alone."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import BusyError, CheckFailedError, ContractError, PublishError
from pipelines.publish import commit
from pipelines.publish.commit import STEPS, Request, publish_in_steps
from pipelines.publish.layout import Layout
from pipelines.publish.snapshot import current, list_snapshots, open_snapshot, publish, published_lines
from pipelines.publish.staging import Staged
from pipelines.settings import Settings

FEATURES, STATUS = "mart__feature_cost_daily", "mart__data_status"
JANUARY = [("2026-01-31", "search", 1_000, "0.10"), ("2026-01-01", "chat", 2_000, "0.200000000001")]
FEBRUARY = [("2026-02-01", "chat", 500, "0.05"), ("2026-02-02", "chat", None, None)]


def _files(root: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = str(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def test_first_publish_goes_live_with_the_whole_layout(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY, "2026-02": FEBRUARY})
    published = publish(settings, tables, {"price_book": "v7"})

    assert published.is_new
    assert published.parent is None
    assert published.snapshot_id.startswith("000001-")
    assert str((settings.marts / "CURRENT").readlink()) == f"snapshots/{published.snapshot_id}"
    names = {str(path.relative_to(published.path)) for path in published.path.rglob("*") if path.is_file()}
    assert names == {
        "MANIFEST.json",
        "marts.duckdb",
        f"{FEATURES}/2026-01.parquet",
        f"{FEATURES}/2026-02.parquet",
        f"{STATUS}/all.parquet",
    }
    assert all(stat.S_IMODE((published.path / name).stat().st_mode) == 0o444 for name in names)
    assert [line.snapshot_id for line in published_lines(settings)] == [published.snapshot_id]
    assert not list(settings.marts.rglob("*.tmp*"))


def test_database_holds_typed_rows_in_stored_order_with_the_snapshot_id(settings: Settings, marts) -> None:
    published = publish(settings, marts({"2026-01": JANUARY, "2026-02": FEBRUARY}), {})
    with duckdb.connect(str(published.path / "marts.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            f"SELECT CAST(usage_date AS VARCHAR), feature, CAST(effective_cost_usd AS VARCHAR), _snapshot_id"
            f" FROM {FEATURES}"
        ).fetchall()
        kinds = dict(connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {FEATURES})").fetchall())
        empty = connection.execute(f"SELECT count(*) FROM {STATUS}").fetchall()
        storage = connection.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal"
        ).fetchall()
    name = published.snapshot_id
    assert rows == [
        ("2026-01-31", "search", "0.100000000000", name),
        ("2026-01-01", "chat", "0.200000000001", name),
        ("2026-02-01", "chat", "0.050000000000", name),
        ("2026-02-02", "chat", None, name),
    ]
    assert kinds["effective_cost_usd"] == "DECIMAL(38,12)"
    assert kinds["usage_date"] == "DATE"
    assert empty == [(0,)]
    assert storage[0][0].startswith("v1.4.0")


def test_canonical_parquet_is_the_lake_s_bytes_without_a_snapshot_id(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    published = publish(settings, tables, {})
    canonical = published.path / FEATURES / "2026-01.parquet"
    assert canonical.read_bytes() == tables[FEATURES][0].read_bytes()
    assert "_snapshot_id" not in pq.read_schema(canonical).names


def test_manifest_says_sums_digests_and_facts(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY, "2026-02": FEBRUARY})
    facts = {"code_version": "x", "closed_periods": ["2026-01"], "data_through": {"litellm": "2026-02-02"}}
    published = publish(settings, tables, facts)
    manifest = json.loads((published.path / "MANIFEST.json").read_text())

    daily = manifest["tables"][FEATURES]
    assert daily["rows"] == 4
    assert daily["money_sums"] == {"effective_cost_usd": "0.350000000001"}  # 0.1 + 0.2 + 10^-12 + 0.05; no ratio
    assert daily["token_sums"] == {"total_tokens": "3500"}
    assert manifest["tables"][STATUS]["token_sums"] == {"unpriced_tokens": None}
    assert manifest["facts"] == facts
    assert manifest["closes"] == ["2026-01"]
    assert manifest["published_at"] == "2026-03-01T02:00:00Z"
    lines = sorted(
        f"{table}\t{path.stem}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for table, paths in tables.items()
        for path in paths
    )
    assert manifest["digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert published.snapshot_id == f"000001-{manifest['digest'][:12]}"


def test_same_parquet_again_changes_nothing(settings: Settings, marts) -> None:
    first = publish(settings, marts({"2026-01": JANUARY}), {"clock": "one"})
    before = _files(settings.marts)
    again = publish(settings, marts({"2026-01": JANUARY}), {"clock": "two"})
    assert (again.is_new, again.snapshot_id) == (False, first.snapshot_id)
    assert _files(settings.marts) == before


def test_changed_month_is_copied_and_unchanged_month_is_linked(settings: Settings, marts, without_smoke: None) -> None:
    first = publish(settings, marts({"2026-01": JANUARY, "2026-02": FEBRUARY}), {})
    second = publish(settings, marts({"2026-01": JANUARY, "2026-02": FEBRUARY[:1]}), {})
    assert second.parent == first.snapshot_id
    assert second.snapshot_id.startswith("000002-")
    old, new = first.path / FEATURES, second.path / FEATURES
    assert (old / "2026-01.parquet").stat().st_ino == (new / "2026-01.parquet").stat().st_ino
    assert (old / "2026-02.parquet").stat().st_ino != (new / "2026-02.parquet").stat().st_ino
    assert (old / "2026-02.parquet").read_bytes() != (new / "2026-02.parquet").read_bytes()


def test_lake_files_stay_writable_and_apart_from_the_snapshot(settings: Settings, marts, without_smoke: None) -> None:
    tables = marts({"2026-01": JANUARY})
    published = publish(settings, tables, {})
    lake_file = tables[FEATURES][0]
    assert lake_file.stat().st_mode & stat.S_IWUSR
    assert lake_file.stat().st_ino != (published.path / FEATURES / "2026-01.parquet").stat().st_ino


def test_damaged_parent_file_is_copied_afresh_not_linked(settings: Settings, marts, without_smoke: None) -> None:
    first = publish(settings, marts({"2026-01": JANUARY, "2026-02": FEBRUARY}), {})
    damaged = first.path / FEATURES / "2026-01.parquet"
    damaged.chmod(0o644)
    damaged.write_bytes(b"bits that rotted")
    tables = marts({"2026-01": JANUARY, "2026-02": FEBRUARY[:1]})
    second = publish(settings, tables, {})
    assert (second.path / FEATURES / "2026-01.parquet").read_bytes() == tables[FEATURES][0].read_bytes()


def test_without_hard_links_files_are_copied(
    settings: Settings, marts, without_smoke: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(settings, marts({"2026-01": JANUARY, "2026-02": FEBRUARY}), {})

    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", no_links)
    tables = marts({"2026-01": JANUARY, "2026-02": FEBRUARY[:1]})
    second = publish(settings, tables, {})
    assert (second.path / FEATURES / "2026-01.parquet").read_bytes() == tables[FEATURES][0].read_bytes()


def test_failing_check_publishes_nothing_and_names_the_sentence(settings: Settings, marts, without_smoke: None) -> None:
    publish(settings, marts({"2026-01": JANUARY}), {})
    before = _files(settings.marts)
    with pytest.raises(CheckFailedError, match="every day has a bill"):
        publish(settings, marts({"2026-01": FEBRUARY}), {}, lambda _: ["every day has a bill"])
    assert _files(settings.marts) == before


def test_checks_see_the_new_marts_and_cannot_leave_them(settings: Settings, marts, without_smoke: None) -> None:
    seen = []

    def checks(staged: Staged) -> list[str]:
        connection = staged.connection
        seen.extend(connection.execute(f"SELECT sum(total_tokens) FROM {FEATURES}").fetchall())
        with pytest.raises(duckdb.Error, match="disabled"):
            connection.execute("SELECT * FROM read_text('/etc/passwd')")
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute(f"DELETE FROM {FEATURES}")
        return []

    publish(settings, marts({"2026-01": JANUARY}), {}, checks)
    assert seen == [(3_000,)]


def test_check_that_raises_leaves_no_staging(settings: Settings, marts) -> None:
    def checks(_: Staged) -> list[str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish(settings, marts({"2026-01": JANUARY}), {}, checks)
    assert list((settings.marts / "snapshots").iterdir()) == []


def test_steps_are_told_in_order(settings: Settings, marts) -> None:
    told: list[str] = []
    request = Request(marts({"2026-01": JANUARY, "2026-02": FEBRUARY}), {})
    publish_in_steps(settings, request, patience_seconds=0, at_step=told.append)
    assert tuple(told) == STEPS


def test_second_publisher_gives_up_after_its_patience(settings: Settings, marts, without_smoke: None) -> None:
    tables = marts({"2026-01": JANUARY})
    with commit.writing(Layout.of(settings), 0), pytest.raises(BusyError, match="publishing"):
        publish(settings, tables, {}, patience_seconds=0.06)
    assert publish(settings, tables, {}).is_new


def test_second_publisher_waits_and_builds_on_the_first(settings: Settings, marts, without_smoke: None) -> None:
    first_tables = marts({"2026-01": JANUARY})
    inside, go_on = threading.Event(), threading.Event()

    def at_step(name: str) -> None:
        if name == "staged":
            inside.set()
            assert go_on.wait(30)

    request = Request(first_tables, {})
    first = threading.Thread(
        target=publish_in_steps, args=(settings, request), kwargs={"patience_seconds": 0, "at_step": at_step}
    )
    first.start()
    assert inside.wait(30)
    outcome = []
    second = threading.Thread(target=lambda: outcome.append(publish(settings, first_tables, {}, patience_seconds=30)))
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    assert [(result.is_new, result.snapshot_id) for result in outcome] == [(False, current(settings).snapshot_id)]
    assert len(list_snapshots(settings)) == 1


def test_publish_over_somebody_elses_snapshot_is_refused(settings: Settings, marts, without_smoke: None) -> None:
    first = publish(settings, marts({"2026-01": JANUARY}), {})
    second = publish(settings, marts({"2026-01": FEBRUARY}), {}, built_on=first.snapshot_id)
    with pytest.raises(PublishError, match="CURRENT moved"):
        publish(settings, marts({"2026-01": JANUARY[:1]}), {}, built_on=first.snapshot_id)
    assert current(settings).snapshot_id == second.snapshot_id


def test_current_moved_by_hand_during_the_build_stops_the_commit(
    settings: Settings, marts, without_smoke: None
) -> None:
    first = publish(settings, marts({"2026-01": JANUARY}), {})
    second = publish(settings, marts({"2026-01": FEBRUARY}), {})
    link = settings.marts / "CURRENT"

    def at_step(name: str) -> None:
        if name == "checked":
            link.unlink()
            link.symlink_to(f"snapshots/{first.snapshot_id}")

    request = Request(marts({"2026-01": JANUARY[:1]}), {})
    with pytest.raises(PublishError, match=f"from {second.snapshot_id} to {first.snapshot_id}"):
        publish_in_steps(settings, request, patience_seconds=0, at_step=at_step)
    assert current(settings).snapshot_id == first.snapshot_id
    assert len(list((settings.marts / "snapshots").iterdir())) == 2


def test_reader_that_cannot_read_is_reported_with_the_way_back(
    settings: Settings, marts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(settings, marts({"2026-01": JANUARY}), {})

    def garble(name: str) -> None:
        if name == "committed":
            database = (settings.marts / "CURRENT").resolve() / "marts.duckdb"
            database.chmod(0o644)
            database.write_bytes(b"no database")

    request = Request(marts({"2026-01": FEBRUARY}), {})
    with pytest.raises(PublishError) as caught:
        publish_in_steps(settings, request, patience_seconds=0, at_step=garble)
    assert f"rollback {first.snapshot_id}" in caught.value.next_move
    assert str(settings.home) not in str(caught.value)


@pytest.mark.parametrize(
    ("partition", "complaint"),
    [("2026-13", "not a canonical file"), ("2026-01-05", "not a canonical file"), ("٢٠٢٦-01", "not a canonical file")],
)
def test_file_whose_name_is_no_partition_is_refused(settings: Settings, marts, partition: str, complaint: str) -> None:
    with pytest.raises(PublishError, match=complaint):
        publish(settings, marts({partition: []}), {})


def test_mart_without_a_file_is_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY}) | {"mart__forecast": []}
    with pytest.raises(PublishError, match="mart__forecast has no file"):
        publish(settings, tables, {})


def test_partition_given_twice_is_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    tables[FEATURES] *= 2
    with pytest.raises(PublishError, match="partition twice"):
        publish(settings, tables, {})


def test_missing_lake_file_is_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    tables[FEATURES][0].unlink()
    with pytest.raises(PublishError, match="missing") as caught:
        publish(settings, tables, {})
    assert caught.value.where == f"lake/{FEATURES}/2026-01.parquet"


def test_name_that_would_be_sql_is_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    with pytest.raises(ContractError):
        publish(settings, {'x"; DROP TABLE y; --': tables[FEATURES]}, {})


def test_months_with_different_columns_are_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY, "2026-02": FEBRUARY})
    pq.write_table(pa.table({"usage_date": ["2026-02-01"]}), tables[FEATURES][1])
    with pytest.raises(PublishError, match="differ in their columns") as caught:
        publish(settings, tables, {})
    assert caught.value.where == f"{FEATURES}/2026-02.parquet"


def test_file_that_is_no_parquet_is_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    tables[FEATURES][0].write_bytes(b"PAR1 or so")
    with pytest.raises(PublishError, match="not readable Parquet"):
        publish(settings, tables, {})
    assert not (settings.marts / "CURRENT").is_symlink()


def test_money_in_floating_point_is_refused(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    pq.write_table(pa.table({"billed_cost_usd": [0.1]}), tables[FEATURES][0])
    with pytest.raises(PublishError, match="billed_cost_usd is DOUBLE"):
        publish(settings, tables, {})


def test_sum_that_overflows_stops_the_publish(settings: Settings, marts) -> None:
    tables = marts({"2026-01": JANUARY})
    largest = pa.array([10**38 - 1, 1], pa.decimal128(38, 0)).cast(pa.decimal128(38, 0))
    pq.write_table(pa.table({"billed_cost_usd": largest}), tables[FEATURES][0])
    with pytest.raises(PublishError, match="could not be built"):
        publish(settings, tables, {})
    assert list((settings.marts / "snapshots").iterdir()) == []


def test_absolute_home_path_in_the_facts_is_refused(settings: Settings, marts) -> None:
    with pytest.raises(PublishError, match="path of this home"):
        publish(settings, marts({"2026-01": JANUARY}), {"files": [str(settings.landing / "a.jsonl")]})
    assert not (settings.marts / "CURRENT").is_symlink()


def test_fact_without_a_json_form_is_refused(settings: Settings, marts) -> None:
    with pytest.raises(PublishError, match="type set"):
        publish(settings, marts({"2026-01": JANUARY}), {"days": {1, 2}})


def test_current_that_is_no_link_is_named_with_the_way_out(settings: Settings, marts) -> None:
    publish(settings, marts({"2026-01": JANUARY}), {})
    (settings.marts / "CURRENT").unlink()
    (settings.marts / "CURRENT").mkdir()
    with pytest.raises(PublishError, match="CURRENT is not a link"):
        open_snapshot(settings)


def test_home_with_quotes_and_brackets_in_its_path_works(tmp_path: Path, settings: Settings, marts) -> None:
    odd = Settings(home=tmp_path / "it's [a] home*", fixed_now=settings.fixed_now, threads=1, memory_limit="1GB")
    publish(odd, marts({"2026-01": JANUARY}), {})
    with open_snapshot(odd) as connection:
        assert connection.execute(f"SELECT count(*) FROM {FEATURES}").fetchall() == [(2,)]
