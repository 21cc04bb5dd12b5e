"""The lake: partitions are replaced whole or not at all, and the index says what stands there."""

from __future__ import annotations

import fcntl
import hashlib
import sqlite3
from contextlib import closing

import pandera.polars as pa
import polars as pl
import pytest

from pipelines import lake as lake_module
from pipelines.errors import BusyError, ContractError
from pipelines.lake import Lake, Partition, Replacement, combined_digest, file_sha256


class Counted(pa.DataFrameModel):
    """Names with a count from 0."""

    name: str
    count: pl.Int64 = pa.Field(ge=0)

    class Config:
        strict = True


FRAME = pl.DataFrame({"name": ["a", "b"], "count": [1, 2]})


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_partition_is_written_read_and_known(lake):
    written = lake.write("core__x", "2026-06-01", FRAME, Counted, signature="made of y")
    path = lake.path("core__x", "2026-06-01")
    assert lake.read("core__x", "2026-06-01").equals(FRAME)
    assert lake.read("core__x", "2026-06-01", ["count"]).columns == ["count"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert written == Partition("core__x", "2026-06-01", 2, digest, "made of y")
    assert lake.partitions("core__x") == {"2026-06-01": written}
    assert [file.name for file in path.parent.iterdir()] == ["2026-06-01.parquet"]


def test_the_same_rows_give_the_same_bytes(lake):
    first = lake.write("core__x", "a", FRAME, Counted)
    assert lake.write("core__x", "b", FRAME.clone(), Counted).sha256 == first.sha256


def test_a_partition_is_replaced_also_by_nothing(lake):
    lake.write("core__x", "all", FRAME, Counted)
    lake.write("core__x", "all", FRAME.clear(), Counted)
    assert (len(lake.read("core__x", "all")), lake.partitions("core__x")["all"].rows) == (0, 0)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (FRAME.with_columns(pl.Series("count", [1, -1])), "row 1: count"),
        (FRAME.drop("count"), "count"),
        (FRAME.cast({"count": pl.Int32}), "count"),
        (FRAME.with_columns(pl.Series("name", ["a", None])), "name"),
    ],
)
def test_rows_that_break_the_contract_leave_the_old_partition(lake, bad, told):
    before = lake.write("core__x", "all", FRAME, Counted)
    with pytest.raises(ContractError, match=told) as caught:
        lake.write("core__x", "all", bad, Counted)
    assert caught.value.where == "core__x/all"
    assert lake.partitions("core__x")["all"] == before
    assert lake.read("core__x", "all").equals(FRAME)


def test_a_write_that_dies_leaves_the_old_partition_and_no_litter(lake, monkeypatch):
    before = lake.write("core__x", "all", FRAME, Counted)

    def die(_path):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), lake.replacing() as replacement:
        replacement.write("core__x", "all", die)
    monkeypatch.setattr(lake_module.os, "replace", lambda *_: die(None))
    with pytest.raises(OSError, match="disk full"):
        lake.write("core__x", "all", FRAME.head(1), Counted)
    assert [file.name for file in lake.path("core__x", "all").parent.iterdir()] == ["all.parquet"]
    assert lake.partitions("core__x")["all"] == before
    assert file_sha256(lake.path("core__x", "all")) == before.sha256


def test_bytes_are_synced_before_they_get_their_name(lake, monkeypatch):
    steps = []
    real_sync, real_replace = lake_module.os.fsync, lake_module.os.replace
    monkeypatch.setattr(lake_module.os, "fsync", lambda number: (steps.append("sync"), real_sync(number))[1])
    monkeypatch.setattr(lake_module.os, "replace", lambda a, b: (steps.append("name"), real_replace(a, b))[1])
    lake.write("core__x", "all", FRAME, Counted)
    assert steps == ["sync", "name", "sync"]
    steps.clear()
    with lake.replacing() as replacement:
        replacement.write("core__x", "b", FRAME)
        replacement.write("core__x", "c", FRAME)
    assert steps == ["sync", "sync", "name", "name", "sync"]


def test_replaced_partitions_become_known_together(lake):
    with lake.replacing() as replacement:
        for key in ("a", "b"):
            replacement.write("core__x", key, FRAME, Counted)
        assert lake.partitions("core__x") == {}
        assert lake.read("core__x", "a") is None
    assert list(lake.partitions("core__x")) == ["a", "b"]


def test_a_kill_between_the_renames_leaves_no_partition_that_passes_for_what_it_was(lake, monkeypatch):
    lake.write("core__x", "a", FRAME, Counted, signature="made of y")
    lake.write("core__x", "b", FRAME, Counted, signature="made of y")
    rename = lake_module.os.replace

    def die_at_the_second(source, target):
        if target == lake.path("core__x", "b"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(lake_module.os, "replace", die_at_the_second)
    replacement = Replacement(lake)
    for key in ("a", "b"):
        replacement.write("core__x", key, FRAME.head(1), Counted, signature="made of z")
    with pytest.raises(KeyboardInterrupt):
        replacement.commit()
    assert {partition.signature for partition in lake.partitions("core__x").values()} == {""}


def test_what_a_killed_writer_left_aside_is_cleared_by_the_next(lake):
    with lake.writing():
        dead = lake.replacing().__enter__()
        dead.write("core__x", "a", FRAME)
    assert len(list((lake.root / ".aside").iterdir())) == 1
    with lake.writing():
        assert not (lake.root / ".aside").exists()
    assert lake.partitions("core__x") == {}


def test_months_are_those_of_any_day_of_the_tables_asked_for(lake):
    for table, key in (
        ("core__x", "2026-06-01"),
        ("core__x", "2026-06-02"),
        ("core__y", "2026-07-01"),
        ("z", "2025-01-01"),
    ):
        lake.write(table, key, FRAME, None)
    assert lake.months(["core__x", "core__y"]) == {"2026-06", "2026-07"}


def test_what_is_removed_is_forgotten(lake):
    lake.write("core__x", "all", FRAME, Counted)
    lake.remove("core__x", "all")
    lake.remove("core__x", "never")
    assert (lake.read("core__x", "all"), lake.partitions("core__x")) == (None, {})


def test_a_second_writer_waits_and_says_so(lake):
    with lake.writing(), open(lake.root / ".lock", "w") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BusyError), lake.writing(patience_seconds=0):
            pass
    with lake.writing(patience_seconds=0):
        pass


def test_a_failed_index_change_is_undone(lake):
    lake.write("core__x", "all", FRAME, Counted)

    def forget_and_fail():
        with lake.index() as index:
            index.execute("DELETE FROM partitions")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        forget_and_fail()
    assert list(lake.partitions("core__x")) == ["all"]


def test_what_is_told_in_one_commit_is_seen_by_others_at_its_end(lake):
    with lake.writing(), lake.one_commit():
        lake.write("core__x", "1", FRAME, None)
        lake.write("core__x", "2", FRAME, None)
        with closing(sqlite3.connect(lake.root / "index.sqlite")) as other:
            assert other.execute("SELECT count(*) FROM partitions").fetchall() == [(0,)]
        assert list(lake.partitions("core__x")) == ["1", "2"]
    assert list(lake.partitions("core__x")) == ["1", "2"]


def test_a_failure_between_two_changes_of_one_commit_leaves_the_first(lake):
    def write_and_fail():
        with lake.writing(), lake.one_commit():
            lake.write("core__x", "1", FRAME, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert list(lake.partitions("core__x")) == ["1"]


def test_a_failure_in_the_middle_of_a_change_undoes_the_commit(lake):
    def fail_while_telling():
        with lake.one_commit():
            lake.write("core__x", "1", FRAME, None)
            with lake.index() as index:
                index.execute("UPDATE partitions SET rows = 7")
                raise ZeroDivisionError

    with lake.writing():
        with pytest.raises(ZeroDivisionError):
            fail_while_telling()
        with lake.one_commit():
            lake.write("core__x", "2", FRAME, None)
    assert list(lake.partitions("core__x")) == ["2"]


def test_digests_of_parts_depend_on_order_and_borders():
    assert combined_digest(["a", "b"]) != combined_digest(["b", "a"])
    assert combined_digest(["a", "b"]) != combined_digest(["ab"])
