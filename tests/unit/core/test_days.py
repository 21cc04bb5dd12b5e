"""Core days: any arrival order, late files, replaced files and rebuilds give what one reading of everything gives."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.core import days
from pipelines.core.known_rows import LOST
from pipelines.core.merge import merge_core
from pipelines.intake import staging as intake
from pipelines.lake import Lake
from tests.unit.lake_state import call, core_state, home_settings, land, take_in, usage


def counted(home) -> dict[str, int]:
    """request id → output tokens of what counts."""
    return dict(usage(home).select("request_id", "output_tokens").iter_rows())


def anew(tmp_path: Path, home) -> dict:
    """The state of a new home that lands the same files at once."""
    other = home_settings(tmp_path / "anew")
    shutil.copytree(home.landing, other.landing)
    if home.reference.exists():
        shutil.copytree(home.reference, other.reference)
    take_in(other)
    return core_state(other)


def session_line(message_id: str, at: str, output: int, **fields) -> dict:
    usage_object = {"input_tokens": 3, "output_tokens": output}
    message = {"id": message_id, "role": "assistant", "model": "claude-sonnet-4-5", "usage": usage_object}
    return {"type": "assistant", "timestamp": at, "sessionId": "s-1", "message": message, **fields}


def test_a_late_file_with_an_earlier_telling_takes_the_call_over_and_settles_older_losers_again(tmp_path):
    home = home_settings(tmp_path / "home")
    land(
        home,
        "usage_table/a.jsonl",
        [call("r", "2026-06-01T10:00:02Z"), call("r", "2026-06-01T10:00:03Z", output_tokens=6)],
    )
    take_in(home)
    land(home, "usage_table/b.jsonl", [call("r", "2026-06-01T10:00:01Z", output_tokens=6)])
    take_in(home)
    assert counted(home) == {"r": 6}
    # The line with 6 tokens conflicted with the first winner and repeats the new one.
    assert core_state(home) == anew(tmp_path, home)


def test_a_better_source_that_comes_later_takes_the_call_over(tmp_path):
    home = home_settings(tmp_path / "home")
    (tmp_path / "home" / "reference").mkdir()
    (tmp_path / "home" / "reference" / "sources.csv").write_text(
        "source,provider,account,role,precedence\nusage_table,*,*,log,90\nresponse_log,*,*,log,5\n"
    )
    land(home, "usage_table/a.jsonl", [call("r"), call("r2")])
    take_in(home)
    line = {
        "timestamp": "2026-06-01T11:00:00Z", "provider": "openai", "model": "gpt-4o", "request_id": "r",
        "usage": {"prompt_tokens": 10, "completion_tokens": 9},
    }  # fmt: skip
    land(home, "response_log/b.jsonl", [line])
    take_in(home)
    assert counted(home) == {"r": 9, "r2": 5}
    assert core_state(home) == anew(tmp_path, home)


def test_a_call_told_on_both_sides_of_midnight_counts_on_the_first_day_in_either_order(tmp_path):
    first, second = call("r", "2026-06-01T23:59:59Z"), call("r", "2026-06-02T00:00:01Z")
    states = []
    for name, order in (("one", [first, second]), ("two", [second, first])):
        home = home_settings(tmp_path / name)
        for number, line in enumerate(order):
            land(
                home, f"usage_table/{number}.jsonl", [line, call(f"own-{line['started_at'][8:10]}", line["started_at"])]
            )
            take_in(home)
        assert usage(home).filter(pl.col("request_id") == "r")["usage_date"].dt.day().to_list() == [1]
        states.append(core_state(home))
    assert states[0] == states[1]


def test_when_the_file_of_the_first_day_goes_the_call_counts_on_the_second(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "usage_table/a.jsonl", [call("r", "2026-06-01T23:59:59Z", output_tokens=1)])
    land(home, "usage_table/b.jsonl", [call("r", "2026-06-02T00:00:01Z", output_tokens=2)])
    take_in(home)
    assert counted(home) == {"r": 1}
    land(home, "usage_table/a.jsonl", [call("other", "2026-06-01T23:59:59Z", output_tokens=3)])
    take_in(home)
    assert counted(home) == {"other": 3, "r": 2}
    assert core_state(home) == anew(tmp_path, home)


def test_new_bytes_at_a_known_path_replace_the_old_rows_even_without_the_other_raw_files(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "usage_table/a.jsonl", [call("r", output_tokens=1), call("gone")])
    other = land(home, "usage_table/b.jsonl", [call("r", "2026-06-01T12:00:00Z", output_tokens=2), call("stays")])
    take_in(home)
    other.unlink()
    land(home, "usage_table/a.jsonl", [call("new")])
    report, _ = take_in(home)
    assert report.retracted == ["usage_table/a.jsonl"]
    assert counted(home) == {"new": 5, "r": 2, "stays": 5}


def test_a_rebuild_of_one_day_keeps_a_files_rows_on_its_other_days(tmp_path):
    home = home_settings(tmp_path / "home")
    lines = [call("r", "2026-06-01T23:59:59Z"), call("r", "2026-06-02T00:00:01Z"), call("s", "2026-06-02T10:00:00Z")]
    land(home, "usage_table/a.jsonl", lines)
    take_in(home)
    before = core_state(home)
    _, report = take_in(home, rebuild=["2026-06-01"])
    assert report.usage_days == ["2026-06-01", "2026-06-02"]  # the call on both sides of midnight asks for the second
    assert core_state(home) == before
    assert counted(home) == {"r": 5, "s": 5}


def test_a_rebuild_keeps_the_rows_of_files_that_are_gone_and_names_them(tmp_path):
    home = home_settings(tmp_path / "home")
    path = land(home, "usage_table/a.jsonl", [call("r"), call("r", output_tokens=9)])
    take_in(home)
    before = core_state(home)
    path.unlink()
    _, report = take_in(home, rebuild=["2026-06-01"])
    assert len(report.missing_raw) == 1
    assert core_state(home) == before


def test_meters_follow_their_request_through_loss_and_return(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "usage_table/a.jsonl", [call("r", "2026-06-01T10:00:05Z", web_search_requests=2)])
    take_in(home)
    land(home, "usage_table/b.jsonl", [call("r", "2026-06-01T10:00:00Z", web_search_requests=3)])
    take_in(home)
    meters = core_state(home)["core__meters"]
    assert [(row["meter"], int(row["quantity"])) for row in meters] == [("web_search_requests", 3)]
    land(home, "usage_table/b.jsonl", [call("other", "2026-06-01T10:00:00Z")])
    take_in(home)
    assert [int(row["quantity"]) for row in core_state(home)["core__meters"]] == [2]
    assert core_state(home) == anew(tmp_path, home)


def test_a_session_call_told_again_later_stays_on_its_first_day(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "claude_code/p/a.jsonl", [session_line("m1", "2026-06-01T10:00:00Z", 7)])
    take_in(home)
    again = [session_line("m1", "2026-06-20T10:00:00Z", 7), session_line("m2", "2026-06-20T10:00:00Z", 8)]
    land(home, "claude_code/p/b.jsonl", again)
    take_in(home)
    rows = usage(home).sort("request_id").select(pl.col("usage_date").dt.day(), "output_tokens").rows()
    assert rows == [(1, 7), (20, 8)]
    assert core_state(home) == anew(tmp_path, home)


def test_a_session_call_told_earlier_moves_to_that_day_and_leaves_its_neighbours_in_place(tmp_path):
    home = home_settings(tmp_path / "home")
    both = [session_line("m1", "2026-06-05T10:00:00Z", 7), session_line("m0", "2026-06-03T09:00:00Z", 4)]
    land(home, "claude_code/p/a.jsonl", [*both, session_line("m2", "2026-06-05T11:00:00Z", 8)])
    take_in(home)
    land(home, "claude_code/p/b.jsonl", [session_line("m1", "2026-06-03T10:00:00Z", 2)])
    take_in(home)
    rows = usage(home).select("request_id", pl.col("usage_date").dt.day(), pl.col("started_at").dt.day().alias("start"))
    assert sorted(rows.rows()) == [("m0", 3, 3), ("m1", 3, 3), ("m2", 5, 5)]
    assert counted(home)["m1"] == 7
    assert core_state(home) == anew(tmp_path, home)


def test_a_session_file_that_grows_reads_only_the_days_that_it_touches_again(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "claude_code/p/a.jsonl", [session_line("m1", "2026-06-01T10:00:00Z", 7)])
    land(home, "claude_code/p/b.jsonl", [session_line("m2", "2026-06-20T10:00:00Z", 8)])
    take_in(home)
    grown = [session_line("m2", "2026-06-20T10:00:00Z", 9), session_line("m3", "2026-06-21T10:00:00Z", 1)]
    land(home, "claude_code/p/b.jsonl", grown)
    _, report = take_in(home)
    assert report.usage_days == ["2026-06-20", "2026-06-21"]
    assert counted(home) == {"m1": 7, "m2": 9, "m3": 1}
    assert core_state(home) == anew(tmp_path, home)


def test_when_the_first_telling_of_a_session_call_goes_it_counts_where_it_is_told_next(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "claude_code/p/a.jsonl", [session_line("m1", "2026-06-01T10:00:00Z", 7)])
    land(home, "claude_code/p/b.jsonl", [session_line("m1", "2026-06-09T10:00:00Z", 7)])
    take_in(home)
    land(home, "claude_code/p/a.jsonl", [session_line("m5", "2026-06-01T10:00:00Z", 5)])
    take_in(home)
    rows = usage(home).sort("request_id").select("request_id", pl.col("usage_date").dt.day()).rows()
    assert rows == [("m1", 9), ("m5", 1)]
    assert core_state(home) == anew(tmp_path, home)


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5, 8])
def test_a_merge_that_dies_between_writes_is_completed_by_the_next(tmp_path, monkeypatch, stop_after):
    home = home_settings(tmp_path / "home")
    both = [session_line("m1", "2026-06-05T10:00:00Z", 7), session_line("m0", "2026-06-03T09:00:00Z", 4)]
    land(home, "claude_code/p/a.jsonl", both)
    land(home, "usage_table/a.jsonl", [call("r", "2026-06-03T23:59:59Z"), call("s", "2026-06-05T10:00:00Z")])
    take_in(home)
    land(home, "claude_code/p/b.jsonl", [session_line("m1", "2026-06-03T10:00:00Z", 2)])
    land(home, "usage_table/b.jsonl", [call("r", "2026-06-04T00:00:01Z"), call("r", "2026-06-03T23:59:58Z")])
    intake.ingest(home)
    real, calls = os.replace, [0]

    def dying(source, target):
        calls[0] += 1
        if calls[0] > stop_after:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        merge_core(home)
    monkeypatch.setattr(os, "replace", real)
    take_in(home)
    assert core_state(home) == anew(tmp_path, home)


def test_staged_pieces_that_were_lost_are_read_again_from_raw(tmp_path):
    home = home_settings(tmp_path / "home")
    land(home, "usage_table/a.jsonl", [call("r"), call("s", "2026-06-02T10:00:00Z")])
    intake.ingest(home)
    next((home.lake / ".staged").rglob("*.arrow")).unlink()
    merge_core(home)
    assert counted(home) == {"r": 5, "s": 5}


def sessions(home) -> None:
    """Six session files over three days; each holds the days in turn, and a later one repeats a call of an earlier."""
    for number in range(6):
        lines = [
            session_line(
                f"m{number}{place}", f"2026-06-0{1 + (number + place) % 3}T1{place}:00:00Z", 10 * number + place
            )
            for place in range(3)
        ]
        again = session_line(f"m{number - 1}0", "2026-06-07T10:00:00Z", 90)
        land(home, f"claude_code/p/{number}.jsonl", [*lines, *([again] if number else [])])


def test_sessions_read_at_once_in_any_company_give_the_same_days(tmp_path, monkeypatch):
    states = []
    for threads, at_once in ((1, 1), (2, 2), (2, 256)):
        monkeypatch.setattr(intake, "_FILES_TOGETHER", at_once)
        home = home_settings(tmp_path / f"{threads}-{at_once}", threads=threads)
        sessions(home)
        intake.ingest(home)
        staged = [folder for folder in (home.lake / ".staged").iterdir() if any(folder.iterdir())]
        assert len(staged) == {1: 6, 2: 3, 256: 1}[at_once]
        merge_core(home)
        states.append(core_state(home))
    assert states[0] == states[1] == states[2]
    told_again = {f"m{number}0": 90 for number in range(5)}
    own = {f"m{number}{place}": 10 * number + place for number in range(6) for place in range(3)}
    assert counted(home) == own | told_again


def test_a_session_that_changes_before_it_is_merged_takes_nothing_of_its_company_away(tmp_path):
    home = home_settings(tmp_path / "home", threads=2)
    sessions(home)
    intake.ingest(home)
    land(home, "claude_code/p/3.jsonl", [session_line("m30", "2026-06-02T10:00:00Z", 5)])
    land(home, "claude_code/p/0.jsonl", [session_line("m00", "2026-06-09T10:00:00Z", 4)])
    intake.ingest(home)
    merge_core(home)
    assert {name: n for name, n in counted(home).items() if name[1] in "03"} == {"m00": 90, "m30": 90}
    assert core_state(home) == anew(tmp_path, home)


def test_sessions_that_were_staged_together_and_lost_are_read_again_from_raw(tmp_path):
    home = home_settings(tmp_path / "home", threads=2)
    sessions(home)
    intake.ingest(home)
    next((home.lake / ".staged").rglob("*.arrow")).unlink()
    merge_core(home)
    assert core_state(home) == anew(tmp_path, home)
    assert not (home.lake / ".staged").exists()


def test_a_session_whose_raw_file_is_gone_keeps_what_is_left_of_it_and_the_others_count_once(tmp_path):
    home = home_settings(tmp_path / "home", threads=2)
    sessions(home)
    intake.ingest(home)
    min((home.lake / ".staged").rglob("*.arrow")).unlink()
    (home.landing / "claude_code/p/5.jsonl").unlink()
    report = merge_core(home)
    assert report.missing_raw != []
    told = pl.concat([usage(home), *(lost_rows(home))], how="diagonal")
    assert told.select("landed_file", "record_number", "part").is_unique().all()
    everything = anew(tmp_path, home)
    others = {row["request_id"] for row in everything["core__usage"]}
    assert others <= set(counted(home))


def lost_rows(home) -> list[pl.DataFrame]:
    lake = Lake(home.lake)
    return [frame for day in lake.partitions(LOST) if (frame := lake.read(LOST, day)) is not None]


def test_files_that_an_earlier_version_staged_are_read_again(tmp_path):
    home = home_settings(tmp_path / "home", threads=2)
    sessions(home)
    intake.ingest(home)
    lake = Lake(home.lake)
    with lake.index() as index:
        index.execute("CREATE TABLE before AS SELECT landed_file, pieces, boot FROM pending_files")
        index.execute("DROP TABLE pending_files")
        index.execute("ALTER TABLE before RENAME TO pending_files")
    for folder in (home.lake / ".staged").iterdir():
        shutil.rmtree(folder)
    merge_core(home)
    assert core_state(home) == anew(tmp_path, home)


LINE = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from(
        [
            "2026-06-01T12:00:00Z",
            "2026-06-01T23:59:59Z",
            "2026-06-02T00:00:01Z",
            "2026-06-02T12:00:00Z",
            "2026-06-03T00:00:01Z",
        ]
    ),
    st.integers(-1, 2),
)


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=10)
@given(
    first=st.lists(st.lists(LINE, min_size=1, max_size=4), min_size=1, max_size=4),
    replaced=st.lists(st.tuples(st.integers(0, 3), st.lists(LINE, min_size=1, max_size=3)), max_size=2),
)
def test_any_arrival_any_replacement_and_any_rebuild_give_the_same_days(first, replaced):
    def lines(drawn):
        return [call(name, at, output_tokens=tokens) for name, at, tokens in drawn]

    with tempfile.TemporaryDirectory() as folder:
        home = home_settings(Path(folder) / "home")
        for number, drawn in enumerate(first):
            land(home, f"usage_table/{number}.jsonl", lines(drawn))
            take_in(home)
        for number, drawn in replaced:
            land(home, f"usage_table/{number}.jsonl", lines(drawn))
            take_in(home)
        grown = core_state(home)
        assert grown == anew(Path(folder), home)
        take_in(home, rebuild=["2026-06-01", "2026-06-02"])
        assert core_state(home) == grown


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=12)
@given(
    tables=st.lists(st.lists(LINE, min_size=1, max_size=8), min_size=1, max_size=3),
    sessions=st.lists(LINE, max_size=4),
    late=st.lists(LINE, max_size=3),
)
def test_days_decided_together_are_those_decided_one_by_one(tables, sessions, late):
    def merged(folder: Path, together: int) -> tuple[dict, list[pl.DataFrame]]:
        home = home_settings(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(days, "_DAYS_TOGETHER", together)
            for number, drawn in enumerate(tables):
                told = [call(name, at, output_tokens=tokens, web_search_requests=1) for name, at, tokens in drawn]
                land(home, f"usage_table/{number}.jsonl", told)
            land(home, "claude_code/s.jsonl", [session_line(name, at, abs(tokens)) for name, at, tokens in sessions])
            take_in(home)
            land(home, "usage_table/late.jsonl", [call(name, at, output_tokens=tokens) for name, at, tokens in late])
            take_in(home)
        lake = Lake(home.lake)
        return core_state(home), [pl.read_parquet(lake.path(LOST, day)) for day in lake.partitions(LOST)]

    with tempfile.TemporaryDirectory() as folder:
        state, lost = merged(Path(folder) / "one", 1)
        together, lost_together = merged(Path(folder) / "many", 64)
    assert together == state
    assert len(lost_together) == len(lost)
    assert all(mine.equals(theirs) for mine, theirs in zip(lost_together, lost, strict=True))
