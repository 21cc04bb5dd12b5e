"""JSON lines: every bad line and value is named, none is changed in silence, and a clean neighbour never suffers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.reading import json_lines
from pipelines.connectors.reading.json_lines import FLAG, JSON, NUMBER, TEXT, read_json_lines
from pipelines.connectors.reading.json_names import lines_of, names_in
from pipelines.errors import FileRejectedError

SHAPE = {
    "id": TEXT,
    "count": NUMBER,
    "done": FLAG,
    "tags": JSON,
    "usage": {"tokens": NUMBER, "details": {"cached": NUMBER}, "parts": [{"kind": TEXT, "tokens": NUMBER}]},
    "sizes": [NUMBER],
}
GOOD = {
    "id": "a", "count": 1, "done": True, "tags": {"team": "x"}, "sizes": [1, 2],
    "usage": {"tokens": 5, "details": {"cached": 2}, "parts": [{"kind": "text", "tokens": 3}]},
}  # fmt: skip


def read(tmp_path: Path, lines: list[Any], **options: Any) -> pl.DataFrame:
    path = tmp_path / "log.jsonl"
    texts = [line if isinstance(line, (str, bytes)) else json.dumps(line) for line in lines]
    path.write_bytes(b"".join((t if isinstance(t, bytes) else t.encode()) + b"\n" for t in texts))
    return pl.concat(read_json_lines(path, SHAPE, **options))


def marks(frame: pl.DataFrame) -> list[tuple[int, bool, str | None]]:
    return frame.select("record_number", "is_malformed", "type_error").rows()


def test_a_clean_file_is_read_as_it_stands(tmp_path):
    frame = read(tmp_path, [GOOD, {"id": "b"}])
    assert marks(frame) == [(1, False, None), (2, False, None)]
    first = frame.row(0, named=True)
    assert (first["count"], first["done"], json.loads(first["tags"]), first["sizes"]) == (
        1,
        True,
        {"team": "x"},
        [1, 2],
    )
    assert first["usage"] == GOOD["usage"]
    assert frame.row(1, named=True)["usage"] is None


BAD = [
    ('{"id": broken', True, None),
    ('{"id": "a"', True, None),
    ("not json", True, None),
    ("[1, 2]", True, None),
    ("17", True, None),
    (b'{"id": "\xff\xfe"}', True, None),
    ({"count": "many"}, False, "count"),
    ({"count": {"a": 1}}, False, "count"),
    ({"count": [1]}, False, "count"),
    ('{"count" : "x"}', False, "count"),
    ('{"co\\u0075nt": "x"}', False, "count"),
    ({"done": "perhaps"}, False, "done"),
    ({"usage": "text"}, False, "usage"),
    ({"usage": [1]}, False, "usage"),
    ({"usage": 7}, False, "usage"),
    ({"usage": {"tokens": "x"}}, False, "usage"),
    ({"usage": {"details": {"cached": "x"}}}, False, "usage"),
    ({"usage": {"details": 3}}, False, "usage"),
    ({"usage": {"parts": [{"tokens": "x"}]}}, False, "usage"),
    ({"usage": {"parts": [{"tokens": 1}, 5]}}, False, "usage"),
    ({"usage": {"parts": "x"}}, False, "usage"),
    ({"sizes": 5}, False, "sizes"),
    ({"sizes": [1, "x"]}, False, "sizes"),
]


@pytest.mark.parametrize(("line", "is_malformed", "column"), BAD, ids=[str(line)[:40] for line, _, _ in BAD])
def test_a_bad_line_is_named_and_its_neighbours_are_read_in_full(tmp_path, line, is_malformed, column):
    frame = read(tmp_path, [GOOD, line, GOOD])
    assert marks(frame) == [(1, False, None), (2, is_malformed, column), (3, False, None)]
    assert frame.row(0, named=True)["usage"] == frame.row(2, named=True)["usage"] == GOOD["usage"]
    assert frame["sizes"].to_list()[0::2] == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "line",
    [
        {"count": None, "usage": None, "sizes": None, "done": None},
        {"usage": {"tokens": None, "details": None, "parts": None}},
        {"usage": {"parts": []}, "sizes": []},
        '{"count": -12.5, "usage": {"tokens": 1E3}}',
        {"id": 'says "count": "many" and {"usage": "x"}'},
        {"other": {"count": "many"}},
        {"id": 5},
        "{}",
    ],
    ids=str,
)
def test_a_good_line_in_a_dirty_file_stays_good(tmp_path, line):
    frame = read(tmp_path, ["broken", line])
    assert marks(frame)[1] == (2, False, None)
    alone = read(tmp_path, [line])
    assert frame.row(1)[:-3] == alone.row(0)[:-3]


def test_a_number_beyond_all_doubles_is_read_as_infinite_not_as_nothing(tmp_path):
    assert read(tmp_path, ["broken", '{"count": 1e999}'])["count"].to_list() == [None, float("inf")]


def test_numbers_count_lines_that_hold_something(tmp_path):
    frame = read(tmp_path, [GOOD, "", "  \t", "broken", "\r", GOOD])
    assert marks(frame) == [(1, False, None), (2, True, None), (3, False, None)]


def test_line_ends_of_windows_and_a_last_line_without_end(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"count": 1}\r\n{"count": "x"}\r\n{"count": 3}')
    frame = pl.concat(read_json_lines(path, SHAPE))
    assert (frame["count"].to_list(), frame["type_error"].to_list()) == ([1, None, 3], [None, "count", None])


@pytest.mark.parametrize("bad_at", [0, 150_000, 299_999])
def test_a_bad_line_far_into_a_file_loses_and_repeats_nothing(tmp_path, bad_at):
    lines = [f'{{"id": "{number}", "count": {number}}}' for number in range(300_000)]
    lines[bad_at] = '{"id": "bad", "count": "x"}'
    frame = read(tmp_path, lines, chunk_rows=50_000)
    assert frame["record_number"].to_list() == list(range(1, 300_001))
    expected = [None if number == bad_at else number for number in range(300_000)]
    assert frame["count"].to_list() == expected
    assert frame.filter(pl.col("type_error").is_not_null())["record_number"].to_list() == [bad_at + 1]


def test_a_line_longer_than_the_small_buffer_is_read_with_a_larger_one(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_LONGEST_LINES", (2**20, 64 * 2**20))
    frame = read(tmp_path, [GOOD, {"count": 2, "text": "x" * 40 * 2**20}, "broken", GOOD])
    assert frame["count"].to_list() == [1, 2, None, 1]
    assert [is_bad for _, is_bad, _ in marks(frame)] == [False, False, True, False]


def test_a_line_longer_than_any_buffer_rejects_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_LONGEST_LINES", (2**20,))
    with pytest.raises(FileRejectedError) as caught:
        read(tmp_path, [GOOD, {"text": "x" * 40 * 2**20}])
    assert caught.value.code == "line_too_long"


def test_names_are_found_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.connectors.reading.json_names._SAMPLE", 16)
    monkeypatch.setattr("pipelines.connectors.reading.json_names._BLOCK", 16)
    path = tmp_path / "log.jsonl"
    path.write_text("x" * 21 + '"a_long_name_over_blocks"' + "y" * 40 + '"b"')
    assert names_in(path, ["a_long_name_over_blocks", "b", "c", "long"]) == {"a_long_name_over_blocks", "b"}


def test_an_escaped_letter_may_hide_any_name(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"\\u0061": 1}')
    assert names_in(path, ["a", "b"]) == {"a", "b"}
    path.write_text('{"text": "\\u00e9"}')
    assert names_in(path, ["a", "b"]) == frozenset()


def test_lines_come_whole_over_block_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.connectors.reading.json_names._BLOCK", 7)
    path = tmp_path / "log.jsonl"
    path.write_bytes("eins\n\nzwei drei\n  \nü\nlast".encode())
    assert [line for part in lines_of(path) for line in part] == ["eins", "zwei drei", "ü", "last"]
