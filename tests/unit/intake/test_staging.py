"""Intake: what lands is taken in once, what is broken is named, and what changes under our hands waits."""

from __future__ import annotations

import gzip
import io
import json

import polars as pl
import pytest
import zstandard

from pipelines.connectors import usage_table
from pipelines.core.merge import merge_core
from pipelines.inspection.quarantine import replay
from pipelines.intake import landing, reading, unpacking
from pipelines.intake import staging as intake
from pipelines.intake.landing import Ledger
from pipelines.lake import Lake
from tests.unit.lake_state import call, core_state, home_settings, land, take_in, usage


def lines(*records) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def ledger_row(settings, path: str) -> dict:
    frame = Lake(settings.lake).read("core__landed_files", "all")
    return frame.filter((pl.col("relative_path") == path) & (pl.col("status") != "retracted")).row(0, named=True)


def ids(settings) -> list[str]:
    return sorted(usage(settings)["request_id"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl", lines(call("a"), call("b"))),
        ("bom.jsonl", b"\xef\xbb\xbf" + lines(call("a"), call("b"))),
        ("windows.jsonl", lines(call("a"), call("b")).replace(b"\n", b"\r\n")),
        ("no-last-newline.jsonl", lines(call("a"), call("b")).rstrip()),
        ("packed.jsonl.gz", gzip.compress(lines(call("a"), call("b")))),
        ("two-members.jsonl.gz", gzip.compress(lines(call("a"))) + gzip.compress(lines(call("b")))),
        ("packed.jsonl.zst", zstandard.compress(lines(call("a"), call("b")))),
        ("misnamed.jsonl", gzip.compress(lines(call("a"), call("b")))),
        ("bom-inside.jsonl.gz", gzip.compress(b"\xef\xbb\xbf" + lines(call("a"), call("b")))),
    ],
)
def test_the_same_records_come_in_however_they_are_packed(tmp_path, name, content):
    home = home_settings(tmp_path)
    land(home, f"usage_table/{name}", content)
    take_in(home)
    assert ids(home) == ["a", "b"]
    row = ledger_row(home, name)
    assert (row["status"], row["records"], row["accepted"]) == ("ingested", 2, 2)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("cut.jsonl.gz", gzip.compress(lines(*(call(f"r{n}") for n in range(500))))[:-200], "truncated_compression"),
        ("cut.jsonl.zst", zstandard.compress(lines(call("a"), call("b")))[:-4], "truncated_compression"),
        ("garbage.jsonl.gz", b"\x1f\x8b" + b"no gzip at all" * 20, "truncated_compression"),
        ("empty.jsonl", b"", "empty_file"),
        ("wide.csv", "request_id,started_at\n".encode("utf-16"), "not_utf8"),
    ],
)
def test_a_broken_file_is_rejected_with_its_reason_and_the_others_come_in(tmp_path, name, content, code):
    home = home_settings(tmp_path)
    land(home, f"usage_table/{name}", content)
    land(home, "usage_table/good.jsonl", [call("a")])
    report, _ = take_in(home)
    assert [path for path, _ in report.rejected] == [f"usage_table/{name}"]
    assert (ledger_row(home, name)["status"], ledger_row(home, name)["reason_code"]) == ("rejected", code)
    assert ids(home) == ["a"]
    assert not list((home.lake / ".spool").glob("*"))


def test_a_decompression_bomb_stops_at_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED_BYTES", 2**20)
    monkeypatch.setattr(unpacking, "BLOCK_BYTES", 2**16)
    home = home_settings(tmp_path)
    land(home, "usage_table/bomb.jsonl.gz", gzip.compress(b"\n" * 64 * 2**20))
    report, _ = take_in(home)
    assert ledger_row(home, "bomb.jsonl.gz")["reason_code"] == "decompression_bomb"
    assert len(report.rejected) == 1


def test_a_file_that_is_mended_at_its_path_comes_in(tmp_path):
    home = home_settings(tmp_path)
    packed = gzip.compress(lines(call("a")))
    land(home, "usage_table/a.jsonl.gz", packed[:-6])
    take_in(home)
    land(home, "usage_table/a.jsonl.gz", packed)
    take_in(home)
    assert ids(home) == ["a"]
    assert ledger_row(home, "a.jsonl.gz")["status"] == "ingested"


def test_the_same_bytes_twice_count_once_and_the_copy_is_named(tmp_path):
    home = home_settings(tmp_path)
    land(home, "usage_table/a.jsonl", [call("a")])
    take_in(home)
    before = core_state(home)["core__usage"]
    land(home, "usage_table/copy.jsonl", [call("a")])
    report, merged = take_in(home)
    assert (report.duplicates, merged.usage_days) == (["usage_table/copy.jsonl"], [])
    assert ledger_row(home, "copy.jsonl")["status"] == "duplicate"
    assert core_state(home)["core__usage"] == before


def test_a_copy_keeps_the_rows_when_the_first_path_gets_other_bytes(tmp_path):
    home = home_settings(tmp_path)
    land(home, "usage_table/a.jsonl", [call("a")])
    land(home, "usage_table/copy.jsonl", [call("a")])
    take_in(home)
    land(home, "usage_table/a.jsonl", [call("b")])
    take_in(home)
    assert ids(home) == ["a", "b"]
    take_in(home, rebuild=["2026-06-01"])
    assert ids(home) == ["a", "b"]


def test_nothing_new_is_no_work(tmp_path):
    home = home_settings(tmp_path)
    land(home, "usage_table/a.jsonl", [call("a")])
    take_in(home)
    report, merged = take_in(home)
    assert (report.ingested, report.known, merged.usage_days) == ([], 1, [])


def test_a_touched_file_with_the_same_bytes_is_not_read_again(tmp_path):
    home = home_settings(tmp_path)
    land(home, "usage_table/a.jsonl", [call("a")])
    take_in(home)
    land(home, "usage_table/a.jsonl", [call("a")])
    report, merged = take_in(home)
    assert (report.ingested, report.retracted, merged.usage_days) == ([], [], [])


def test_an_unknown_folder_is_named_and_left_alone(tmp_path):
    home = home_settings(tmp_path)
    land(home, "usage_tabel/a.jsonl", [call("a")])
    land(home, "usage_tabel/deeper/b.jsonl", [call("a")])
    report, _ = take_in(home)
    assert (report.unknown_sources, report.ingested) == ({"usage_tabel": 2}, [])


def test_hidden_and_half_named_files_are_ignored(tmp_path):
    home = home_settings(tmp_path)
    for name in (".hidden.jsonl", "a.jsonl.part", "b.tmp", "sub/.git/x.jsonl"):
        land(home, f"usage_table/{name}", [call("a")])
    report, _ = take_in(home)
    assert (report.ingested, report.rejected) == ([], [])


def test_a_file_that_grows_while_it_settles_waits_for_the_next_run(tmp_path, monkeypatch):
    home = home_settings(tmp_path)
    settling = type(home)(home=home.home, fixed_now=home.fixed_now, settle_seconds=10**9, settle_wait_seconds=0)
    path = land(home, "usage_table/a.jsonl", [call("a")])

    def still_written(_seconds):
        with path.open("ab") as stream:
            stream.write(lines(call("b")))

    monkeypatch.setattr(landing.time, "sleep", still_written)
    report = intake.ingest(settling)
    assert (report.unsettled, report.ingested) == (["usage_table/a.jsonl"], [])
    monkeypatch.setattr(landing.time, "sleep", lambda _seconds: None)
    assert intake.ingest(settling).ingested == ["usage_table/a.jsonl"]
    merge_core(settling)
    assert ids(settling) == ["a", "b"]


def test_a_file_that_is_written_to_while_it_is_read_waits_for_the_next_run(tmp_path, monkeypatch):
    home = home_settings(tmp_path)
    path = land(home, "usage_table/a.jsonl", [call("a")])
    real = reading.read_file

    def meanwhile(*args, **kwargs):
        read = real(*args, **kwargs)
        with path.open("ab") as stream:
            stream.write(lines(call("b")))
        return read

    monkeypatch.setattr(reading, "read_file", meanwhile)
    assert intake.ingest(home).unsettled == ["usage_table/a.jsonl"]
    monkeypatch.setattr(reading, "read_file", real)
    take_in(home)
    assert ids(home) == ["a", "b"]


def test_records_are_accounted_for_whatever_became_of_them(tmp_path):
    home = home_settings(tmp_path)
    good, other = call("a"), call("a", "2026-06-01T11:00:00Z", output_tokens=9)
    bad = [call("n", input_uncached_tokens=-1), call("t", "yesterday")]
    content = lines(good, good, other, *bad) + b"not json\n\n" + lines(call("c", "1970-01-01T00:00:00Z"))
    land(home, "usage_table/a.jsonl", content)
    take_in(home)
    row = ledger_row(home, "a.jsonl")
    told = {name: row[name] for name in ("records", "accepted", "duplicate", "superseded", "quarantined")}
    assert told == {"records": 7, "accepted": 1, "duplicate": 1, "superseded": 0, "quarantined": 5}
    reasons = sorted(entry["reason_code"] for entry in core_state(home)["core__quarantine"])
    assert reasons == ["bad_timestamp", "bad_timestamp", "cache_gt_input", "key_conflict", "malformed_json"]


def test_people_and_secrets_never_reach_the_lake(tmp_path):
    home = home_settings(tmp_path)
    secret = "sk-proj-abcdefghijklmnop1234"
    record = call("ann@example.com", user_id="ann@example.com", session_id=f"bearer {secret}", tags={"k": secret})
    land(home, "usage_table/a.jsonl", [record])
    take_in(home)
    everything = json.dumps(core_state(home), default=str)
    assert "ann@example.com" not in everything
    assert secret not in everything
    assert usage(home)["user_id"].str.contains(r"^h_[0-9a-f]{24}$").all()


def test_a_mapping_that_changes_makes_a_new_version_of_its_file(tmp_path):
    home = home_settings(tmp_path)
    land(home, "usage_table/a.csv", "when,tokens\n2026-06-01T10:00:00Z,5\n")
    mapping = (
        '[columns]\nstarted_at = "when"\noutput_tokens = "tokens"\n[constants]\nprovider = "openai"\nmodel = "{}"\n'
    )
    land(home, "usage_table/a.csv.mapping.toml", mapping.format("gpt-4o"))
    take_in(home)
    land(home, "usage_table/a.csv.mapping.toml", mapping.format("gpt-5"))
    report, _ = take_in(home)
    assert report.retracted == ["usage_table/a.csv"]
    assert usage(home)["model"].to_list() == ["gpt-5"]


def test_a_kill_between_staging_and_the_ledger_loses_nothing(tmp_path, monkeypatch):
    home = home_settings(tmp_path)
    land(home, "usage_table/a.jsonl", [call("a")])
    with monkeypatch.context() as patch:

        def die(*_args, **_kwargs):
            raise KeyboardInterrupt

        patch.setattr(Ledger, "record", die)
        with pytest.raises(KeyboardInterrupt):
            intake.ingest(home)
    take_in(home)
    assert ids(home) == ["a"]
    assert ledger_row(home, "a.jsonl")["accepted"] == 1


def test_files_read_side_by_side_give_what_one_after_the_other_gives(tmp_path, monkeypatch):
    told = {}
    for threads in (1, 3):
        home = home_settings(tmp_path / str(threads), threads=threads)
        for number in range(8):
            land(home, f"usage_table/{number}.jsonl", [call(f"{number}-{at}") for at in range(3)] + [call("shared")])
        land(home, "usage_table/copy.jsonl", (home.landing / "usage_table/3.jsonl").read_bytes())
        land(home, "usage_table/empty.jsonl", b"")
        land(home, "usage_table/late.jsonl", lines(call("late")) + b"not json\n")
        land(home, "usage_table/packed.jsonl.gz", gzip.compress(lines(call("packed")), mtime=0))
        monkeypatch.setattr(intake, "_SMALL_FILE_BYTES", (home.landing / "usage_table/7.jsonl").stat().st_size)
        land(home, "usage_table/large.jsonl", [call(f"large-{at}") for at in range(20)])
        report, _ = take_in(home)
        land(home, "usage_table/2.jsonl", [call("replaced")])
        again, _ = take_in(home)
        told[threads] = (report, again, core_state(home))
    report, again, state = told[1]
    assert (report.duplicates, again.retracted) == (["usage_table/copy.jsonl"], ["usage_table/2.jsonl"])
    assert [name for name, _ in report.rejected] == ["usage_table/empty.jsonl"]
    assert len(state["core__usage"]) == 7 * 3 + 1 + 1 + 1 + 20 + 1
    assert told[3] == told[1]


def test_what_goes_wrong_with_one_of_the_files_read_ahead_is_told_and_the_rest_is_taken_in_later(tmp_path, monkeypatch):
    home = home_settings(tmp_path, threads=3)
    for number in range(5):
        land(home, f"usage_table/{number}.jsonl", [call(str(number))])
    real = reading.read_file

    def failing(settings, lake, file, *args, **kwargs):
        if file.relative_path == "2.jsonl":
            raise OSError("the disk is gone")
        return real(settings, lake, file, *args, **kwargs)

    monkeypatch.setattr(reading, "read_file", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        intake.ingest(home)
    monkeypatch.setattr(reading, "read_file", real)
    report, _ = take_in(home)
    assert report.ingested == [f"usage_table/{number}.jsonl" for number in (2, 3, 4)]
    assert ids(home) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("source", ["usage_table", "focus"])
def test_a_damaged_parquet_file_is_rejected_and_stops_nothing(tmp_path, source, threads):
    home = home_settings(tmp_path, threads=threads)
    stream = io.BytesIO()
    pl.DataFrame([call("r")]).write_parquet(stream)
    land(home, f"{source}/a-damaged.parquet", stream.getvalue()[:-9])
    land(home, "usage_table/b.parquet", stream.getvalue())
    land(home, "usage_table/c.jsonl", [call("s")])
    report, _ = take_in(home)
    assert [name for name, _ in report.rejected] == [f"{source}/a-damaged.parquet"]
    assert report.ingested == ["usage_table/b.parquet", "usage_table/c.jsonl"]
    assert ids(home) == ["r", "s"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_no_connector_foresaw_rejects_the_file_and_quotes_nothing_of_it(tmp_path, monkeypatch, form, threads):
    home = home_settings(tmp_path, threads=threads)
    for name in "abc":
        path = land(home, f"usage_table/{name}.{form}", [call(name)])
        if form == "parquet":
            pl.DataFrame([call(name)]).write_parquet(path)
    real = usage_table.usage_rows

    def odd(frame, *args):
        if "b" in frame["request_id"]:
            raise ValueError("the prompt says: ann@example.org")
        return real(frame, *args)

    monkeypatch.setattr(usage_table, "usage_rows", odd)
    report, _ = take_in(home)
    [(name, why)] = report.rejected
    assert name == f"usage_table/b.{form}"
    assert "ValueError" in why
    assert "usage_table.py line" in why
    assert "ann@example.org" not in why
    assert ids(home) == ["a", "c"]
    monkeypatch.undo()
    replay(home, "usage_table")
    assert ids(home) == ["a", "b", "c"]
