"""Strict reading: JSON values without floats, CSV records as they stand, counts that do not trust the reader."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.connectors.reading.strict_documents import (
    count_csv_records,
    count_listed,
    read_csv_chunks,
    read_csv_header,
    read_json_documents,
)
from tests.unit.connectors.money_reading import land_bytes


def test_fractions_are_decimals_and_whole_numbers_integers(tmp_path: Path) -> None:
    [document] = read_json_documents(land_bytes(tmp_path, "s", '{"a": 0.1, "b": 12345678901234567890, "c": 1e-7}'))
    assert document == {"a": Decimal("0.1"), "b": 12345678901234567890, "c": Decimal("1E-7")}
    assert [type(value) for value in document.values()] == [Decimal, int, Decimal]


@pytest.mark.parametrize(
    "content",
    ['[{"n": 1}, {"n": 2}]', '{"n": 1}\n{"n": 2}\n', '\r\n{"n": 1}\r\n\r\n{"n": 2}', '{\n "n": 1\n}\n{\n "n": 2\n}'],
)
def test_an_array_and_lines_hold_the_same_documents(tmp_path: Path, content: str) -> None:
    assert read_json_documents(land_bytes(tmp_path, "s", content)) == [{"n": 1}, {"n": 2}]


def test_the_same_key_in_two_objects_is_no_duplicate(tmp_path: Path) -> None:
    content = '{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}'
    assert read_json_documents(land_bytes(tmp_path, "s", content)) == [{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}]


def test_listed_items_are_counted_wherever_they_stand(tmp_path: Path) -> None:
    content = '{"data": [{"results": [1, {"results": [2]}]}]} [{"result": [3]}, {"results": {}}, {"results": null}]'
    assert count_listed(land_bytes(tmp_path, "s", content), ("results", "result")) == 4


def test_quoted_line_ends_commas_and_quotes_stay_inside_their_field(tmp_path: Path) -> None:
    file = land_bytes(tmp_path, "s", 'a,b\r\n"one\r\ntwo","x, ""y"""\r\n,\r\n')
    [chunk] = read_csv_chunks(file)
    assert chunk.frame.select("a", "b").rows() == [("one\r\ntwo", 'x, "y"'), (None, None)]
    assert chunk.frame["record_number"].to_list() == [1, 2]
    assert count_csv_records(file) == 2


def test_lines_of_blanks_are_no_records_but_lines_of_commas_are(tmp_path: Path) -> None:
    file = land_bytes(tmp_path, "s", "a,b\n\n1,2\n \t\n,\n\n3,4")
    [chunk] = read_csv_chunks(file)
    assert chunk.frame.rows() == [("1", "2", 1), (None, None, 2), ("3", "4", 3)]
    assert count_csv_records(file) == 3


def test_ragged_records_keep_their_number_and_leave_the_others_alone(tmp_path: Path) -> None:
    file = land_bytes(tmp_path, "s", 'a,b\n1\n2,3\n4,5,6\n7,"8')
    [chunk] = read_csv_chunks(file)
    assert (chunk.frame.rows(), chunk.ragged) == ([("2", "3", 2)], [1, 3, 4])
    assert count_csv_records(file) == 4


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 9])
def test_chunks_are_bounded_and_numbered_through(tmp_path: Path, rows: int) -> None:
    file = land_bytes(tmp_path, "s", "a,b\n" + "".join(f"{n},x\n" for n in range(rows)))
    chunks = list(read_csv_chunks(file, chunk_rows=4))
    assert [len(chunk.frame) for chunk in chunks] == {0: [], 1: [1], 4: [4], 5: [4, 1], 9: [4, 4, 1]}[rows]
    numbers = [number for chunk in chunks for number in chunk.frame["record_number"]]
    assert numbers == list(range(1, rows + 1))


def test_the_header_is_trimmed_and_unnamed_columns_are_no_duplicates(tmp_path: Path) -> None:
    file = land_bytes(tmp_path, "s", '\ufeff a ,"b c",,\n1,2,3,4\n')
    assert read_csv_header(file) == ["a", "b c", "", ""]
    [chunk] = read_csv_chunks(file)
    assert chunk.frame.select("a", "b c").rows() == [("1", "2")]
