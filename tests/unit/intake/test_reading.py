"""Small files that are read at once give what each gives by itself."""

from __future__ import annotations

import io
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.connectors import registry
from pipelines.errors import FileRejectedError
from pipelines.intake.landing import Ledger, survey
from pipelines.intake.reading import ReadFile, read_file, read_files
from pipelines.intake.staging import staged_pieces
from pipelines.lake import Lake
from pipelines.piece_files import open_piece
from pipelines.transforms.canonical_rows import ROWS_SCHEMA
from tests.unit.lake_state import call, home_settings, land


def entry(message_id, output, second, **fields):
    told = {"input_tokens": 3, "output_tokens": output, "cache_read_input_tokens": 7}
    message = {"id": message_id, "role": "assistant", "model": "claude-sonnet-4-5", "usage": told}
    at = f"2026-10-0{1 + second // 60}T23:59:{second % 60:02d}Z"
    return {"type": "assistant", "timestamp": at, "message": message, "sessionId": "s", **fields}


LINE = st.one_of(
    st.builds(entry, st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([0, 59, 60, 90])),
    st.builds(entry, st.sampled_from("ab"), st.sampled_from([2.5, -4]), st.just(1)),
    st.builds(entry, st.just("c"), st.just(5), st.just(2), isSidechain=st.booleans()),
    st.builds(entry, st.just("d"), st.just(5), st.just(2), timestamp=st.sampled_from([None, "yesterday"])),
    st.just({"type": "user", "timestamp": "2026-10-01T10:00:00Z", "message": {"role": "user"}}),
)
ODD = st.sampled_from(["not json", "[]", json.dumps(entry("", 5, 3)), ""])


def told(home, file, outcome):
    """Everything that is known of a file after it was read."""
    if isinstance(outcome, FileRejectedError):
        return str(outcome)
    assert isinstance(outcome, ReadFile)
    days = {}
    for path in staged_pieces(Lake(home.lake), outcome.staged_in):
        piece = open_piece(path)
        rows = piece.frame([name for name in ROWS_SCHEMA if name in piece.columns])
        mine = rows.filter(pl.col("landed_file") == file.landed_file).to_dicts()
        days.setdefault(path.parent.name, []).extend(mine)
    return (
        outcome.records,
        outcome.not_usage,
        outcome.quarantine.to_dicts(),
        {day: rows for day, rows in days.items() if rows},
    )


def both_ways(home):
    """What files tell when each is read by itself, and when all are read at once."""
    lake = Lake(home.lake)
    found = survey(home, Ledger(lake), registry.SOURCES).fresh
    unique = list({file.landed_file: file for file in found}.values())
    alone = []
    for file in unique:
        try:
            alone.append(told(home, file, read_file(home, lake, file)))
        except FileRejectedError as error:
            alone.append(str(error))
    outcomes = read_files(home, lake, unique)
    return alone, [told(home, file, outcome) for file, outcome in zip(unique, outcomes, strict=True)]


def lines_both_ways(where, files, odd):
    """The same for files of JSON lines, the second with an odd line; they end in more and more blank ones."""
    with tempfile.TemporaryDirectory() as folder:
        home = home_settings(Path(folder))
        for number, lines in enumerate(files):
            text = "".join(json.dumps(line) + "\n" for line in lines)
            land(home, f"{where}/{number}.jsonl", text + (odd or "") * (number == 1) + "\n" * number)
        return both_ways(home)


@hypothesis_settings(deadline=None, max_examples=25)
@given(files=st.lists(st.lists(LINE, max_size=5), min_size=2, max_size=5), odd=st.none() | ODD)
def test_sessions_read_at_once_are_those_read_one_by_one(files, odd):
    alone, together = lines_both_ways("claude_code/p", files, odd)
    assert together == alone


def response(provider, usage, **fields):
    at = "2026-10-01T10:00:00Z"
    return {"timestamp": at, "provider": provider, "model": "m", "request_id": "r1", "usage": usage, **fields}


CHAT = {"prompt_tokens": 30, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 10}}
SDK = {"prompt_token_count": 9, "candidates_token_count": 2, "prompt_tokens_details": [{"modality": "TEXT"}]}
RESPONSE = st.one_of(
    st.builds(response, st.sampled_from(["openai", "Open AI", None]), st.just(CHAT), request_id=st.sampled_from("abc")),
    st.builds(response, st.just("anthropic"), st.just({"input_tokens": 5, "cache_read_input_tokens": 7})),
    st.builds(response, st.just("openai"), st.just({**CHAT, "completion_tokens": 2.5}), tags=st.just({"team": "x"})),
    st.builds(response, st.just("openai"), st.none(), status=st.sampled_from(["failed", "ok"])),
    st.just(response("openai", None, response={"id": "body", "model": "gpt-4o", "usage": CHAT})),
    st.just(response("openai", CHAT, timestamp="yesterday")),
)
STRANGE = st.sampled_from(
    [*map(json.dumps, [response("google", SDK), response("openai", CHAT, request_id=None), []]), "not json"]
)


@hypothesis_settings(deadline=None, max_examples=25)
@given(files=st.lists(st.lists(RESPONSE, max_size=5), min_size=2, max_size=5), strange=st.none() | STRANGE)
def test_hours_of_a_gateway_read_at_once_are_those_read_one_by_one(files, strange):
    alone, together = lines_both_ways("response_log", files, strange)
    assert together == alone


ROW = st.fixed_dictionaries(
    {
        "request_id": st.sampled_from(["a", "b", "c"]) | st.uuids().map(str),
        "started_at": st.integers(0, 3 * 86_400_000_000).map(
            lambda since: datetime(2026, 6, 1, tzinfo=UTC) + timedelta(microseconds=since)
        ),
        "provider": st.sampled_from(["openai", "Open AI", None]),
        "model": st.sampled_from(["gpt-4o", "gpt-4o-mini"]),
        "input_tokens": st.sampled_from([10, 500, -1, None]),
        "feature": st.sampled_from(["chat", None, "mail ann@example.org"]),
    }
)
TYPES = {"started_at": pl.Datetime("us", "UTC"), "input_tokens": pl.Int64}
SPOILED = st.sampled_from(["no rows", "no ids", "another column", "times as numbers", "damaged"])


@hypothesis_settings(deadline=None, max_examples=25)
@given(files=st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=2, max_size=4), spoiled=st.none() | SPOILED)
def test_parquet_files_read_at_once_are_those_read_one_by_one(files, spoiled):
    with tempfile.TemporaryDirectory() as folder:
        home = home_settings(Path(folder))
        for number, rows in enumerate(files):
            frame = pl.DataFrame(rows, schema_overrides=TYPES, schema=list(ROW_COLUMNS))
            if spoiled and number == 1:
                frame = spoil(frame, spoiled)
            stream = io.BytesIO()
            frame.write_parquet(stream)
            content = stream.getvalue()
            land(home, f"usage_table/{number}.parquet", content[:-9] if spoiled == "damaged" and number else content)
        alone, together = both_ways(home)
    assert together == alone


ROW_COLUMNS = ("request_id", "started_at", "provider", "model", "input_tokens", "feature")


def spoil(frame, how):
    """A file that cannot be read with the others as it is."""
    if how == "no rows":
        return frame.clear()
    if how == "no ids":
        return frame.with_columns(pl.lit(None, dtype=pl.String).alias("request_id"))
    if how == "another column":
        return frame.with_columns(pl.lit(5).alias("output_tokens"))
    if how == "times as numbers":
        return frame.with_columns(pl.col("started_at").dt.epoch("s"))
    return frame


def test_days_of_files_read_at_once_are_of_one_file_each_where_they_can(tmp_path):
    home = home_settings(tmp_path)
    for day in (1, 2):
        frame = pl.DataFrame([call(f"r{day}{n}", f"2026-06-0{day}T10:0{n}:00Z") for n in range(3)])
        stream = io.BytesIO()
        frame.write_parquet(stream)
        land(home, f"usage_table/{day}.parquet", stream.getvalue())
    lake = Lake(home.lake)
    files = survey(home, Ledger(lake), registry.SOURCES).fresh
    outcomes = read_files(home, lake, files)
    assert len({outcome.staged_in for outcome in outcomes}) == 1
    pieces = [open_piece(path) for path in staged_pieces(lake, outcomes[0].staged_in)]
    assert [piece.constants["landed_file"].to_list() for piece in pieces] == [[file.landed_file] for file in files]
    assert [piece.column("record_number").to_list() for piece in pieces] == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("bad", ["not json", json.dumps(entry("", 5, 3))])
def test_a_line_that_does_not_fit_has_each_file_read_by_itself(tmp_path, bad):
    """What is wrong with one is then named for it alone; a message without an id is numbered by its own file."""
    home = home_settings(tmp_path)
    paths = [land(home, f"claude_code/p/{n}.jsonl", json.dumps(entry("a", n, 3)) + "\n") for n in range(2)]
    files = survey(home, Ledger(Lake(home.lake)), registry.SOURCES).fresh
    connector = registry.connector("claude_code")
    both = connector.read_together(files)
    assert (list(both.records), both.batch.usage["record_number"].to_list()) == ([1, 1], [1, 2])
    paths[1].write_text(json.dumps(entry("a", 1, 3)) + "\n" + bad + "\n")
    assert connector.read_together(files) is None


def test_records_of_pieces_are_counted_from_one_in_each_file(tmp_path):
    home = home_settings(tmp_path)
    for number in range(3):
        land(home, f"claude_code/p/{number}.jsonl", [entry("abc"[number], 1, at) for at in range(number + 1)])
    lake = Lake(home.lake)
    files = survey(home, Ledger(lake), registry.SOURCES).fresh
    outcomes = read_files(home, lake, files)
    assert [outcome.records for outcome in outcomes] == [1, 2, 3]
    for file, outcome in zip(files, outcomes, strict=True):
        [path] = staged_pieces(lake, outcome.staged_in)
        rows = open_piece(path).frame(["landed_file", "record_number"])
        mine = rows.filter(pl.col("landed_file") == file.landed_file)
        assert mine["record_number"].to_list() == list(range(1, outcome.records + 1))


@pytest.mark.parametrize(
    ("folder", "line"),
    [("claude_code/p", entry("abc", 1, 3)), ("response_log", response("openai", CHAT, request_id="r"))],
)
def test_files_that_fit_are_read_at_once(tmp_path, folder, line):
    home = home_settings(tmp_path)
    for number in range(3):
        land(home, f"{folder}/{number}.jsonl", [line] * (number + 1))
    lake = Lake(home.lake)
    outcomes = read_files(home, lake, survey(home, Ledger(lake), registry.SOURCES).fresh)
    assert len({outcome.staged_in for outcome in outcomes}) == 1
    assert [outcome.records for outcome in outcomes] == [1, 2, 3]
