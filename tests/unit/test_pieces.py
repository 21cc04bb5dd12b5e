"""Pieces: narrow files that give back exactly the rows that went in."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import lake
from pipelines.contracts.fields import Instant, Usd, polars_schema
from pipelines.piece_files import open_partition, open_piece, write_partition, write_piece
from pipelines.pieces import Piece, encoded, narrow, recoded

SCHEMA = {
    "request_id": pl.String(), "record_number": pl.Int64(), "text": pl.String(), "count": pl.Int64(),
    "small": pl.Int32(),
    "cost": pl.Decimal(38, 12), "at": pl.Datetime("us", "UTC"), "usage_date": pl.Date(), "flag": pl.Boolean(),
}  # fmt: skip
ROW = st.fixed_dictionaries(
    {
        "request_id": st.text(max_size=20),
        "record_number": st.integers(1, 9),
        "text": st.sampled_from([None, "", "ü", "a" * 40]),
        "count": st.sampled_from([None, 0, -1, 2**7, 2**15, 2**31, 2**62]),
        "small": st.sampled_from([0, 1]),
        "cost": st.sampled_from([None, Decimal("0.000000000001")]),
        "at": st.sampled_from([None, datetime(2026, 6, 1, tzinfo=UTC)]),
        "usage_date": st.sampled_from([date(2026, 6, 1), date(2026, 6, 2)]),
        "flag": st.sampled_from([None, True]),
    }
)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, max_size=8))
def test_what_goes_in_comes_out(rows):
    frame = pl.DataFrame(rows, schema=SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "piece.arrow"
        write_piece(narrow(frame), path)
        piece = open_piece(path)
        assert piece.frame(list(SCHEMA)).equals(frame)
        assert dict(piece.frame(list(SCHEMA)).schema) == SCHEMA
        assert narrow(piece).frame(list(SCHEMA)).equals(frame)
        assert (
            piece.only(pl.Series([len(frame) - 1] if rows else [], dtype=pl.UInt32))
            .column("count")
            .equals(frame["count"].tail(1))
        )
        counts = dict(piece.grouped(["count"], [pl.len().alias("n")]).rows())
        assert counts == Counter(frame["count"])
        assert len(piece) == len(frame)
        cut = {day: part.frame(list(SCHEMA)) for day, part in piece.by_day() if len(part)}
    assert (
        pl.concat([frame.clear(), *cut.values()])
        .sort("usage_date", maintain_order=True)
        .equals(frame.sort("usage_date", maintain_order=True))
    )
    assert all((part["usage_date"].cast(pl.String) == day).all() for day, part in cut.items())


def test_columns_of_one_value_are_kept_once():
    frame = pl.DataFrame(
        {"request_id": ["a", "b"], "same": [1, 1], "none": [None, None], "differs": [1, 2], "late": [1, None]}
    )
    piece = narrow(frame)
    assert (piece.varying.columns, piece.constants.columns) == (["request_id", "differs", "late"], ["same", "none"])


def test_a_column_that_changes_late_is_not_taken_for_constant():
    frame = pl.DataFrame({"request_id": [str(n) for n in range(1000)], "value": [0] * 999 + [1]})
    assert narrow(frame).varying.columns == ["request_id", "value"]


def test_repeated_texts_are_kept_once_and_read_back(tmp_path):
    texts = ["b", None, "a", "b", ""] * 600
    frame = pl.DataFrame({"request_id": [str(n) for n in range(3000)], "text": texts})
    piece = narrow(frame)
    assert piece.words["text"].to_list() == ["b", "a", ""]
    write_piece(piece, tmp_path / "piece.arrow")
    for held in (piece, open_piece(tmp_path / "piece.arrow")):
        assert held.frame(["text", "request_id"]).equals(frame.select("text", "request_id"))
        assert held.column("text").to_list() == texts
        assert held.only(pl.Series([2, 1])).column("text").to_list() == ["a", None]
        assert held.part(3, 2).values("text") == {"b", ""}
        upper = held.changed(lambda rows: rows.with_columns(pl.col(n).str.to_uppercase() for n in rows.columns))
        assert upper.part(0, 3).column("text").to_list() == ["B", None, "A"]


def test_a_piece_of_an_earlier_version_is_read(tmp_path):
    """It holds every whole number in 64 bits, and does not say so."""
    frame = pl.DataFrame({"request_id": ["a", "b"], "record_number": [1, 2]})
    write_piece(narrow(frame), tmp_path / "piece.arrow")
    with pa.ipc.open_file(tmp_path / "piece.arrow") as reader:
        table = reader.read_all()
    old = table.set_column(1, "record_number", table["record_number"].cast(pa.int64()))
    told = {name: text for name, text in table.schema.metadata.items() if name != b"wide"}
    with pa.ipc.new_file(tmp_path / "old.arrow", old.replace_schema_metadata(told).schema) as writer:
        writer.write_table(old.replace_schema_metadata(told))
    assert open_piece(tmp_path / "old.arrow").frame(["request_id", "record_number"]).equals(frame)


def test_words_that_become_equal_or_nothing_after_a_change():
    numbers, words = encoded(pl.Series("w", ["x", "X", None, "?", "x"]))
    numbers, words = recoded(numbers, words, lambda texts: texts.str.to_lowercase().set(texts == "?", None))
    assert words.to_list() == ["x"]
    assert numbers.to_list() == [0, 0, None, None, 0]


def test_rows_are_found_by_their_texts_however_a_piece_holds_them():
    numbers, words = encoded(pl.Series("words", ["a", None, "b", "a"]))
    ids = pl.Series("request_id", ["1", "2", "3", "4"])
    one = Piece(pl.DataFrame([ids, numbers]), pl.DataFrame({"same": ["a"]}), {"words": words})
    piece = one.beside(Piece(pl.DataFrame([ids, pl.Series("plain", ["b", "a", None, "c"])]), pl.DataFrame({"n": [7]})))
    assert piece.columns == ["request_id", "words", "plain", "same", "n"]

    def found(column, *texts):
        return piece.is_one_of(column, pl.Series(texts, dtype=pl.String)).to_list()

    assert found("words", "a", "z") == [True, False, False, True]
    assert found("plain", "a", "c") == [False, True, False, True]
    assert found("same", "a") == [True] * 4
    assert found("same", "b") == found("words", "z") == found("plain") == [False] * 4


KEYS = st.tuples(st.sampled_from([None, "a", "b", "ü"]), st.sampled_from(["m", "n"]), st.sampled_from([1, 2]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(KEYS, st.integers(0, 2**40)), min_size=1, max_size=30))
def test_grouping_by_numbers_gives_what_a_dictionary_gives(rows):
    frame = pl.DataFrame(
        [(str(at), *key, amount) for at, (key, amount) in enumerate(rows)],
        schema={"request_id": pl.String, "t": pl.String, "u": pl.String, "n": pl.Int64, "amount": pl.Int64},
        orient="row",
    )
    numbers, words = encoded(frame["t"])
    piece = Piece(frame.with_columns(numbers), pl.DataFrame(), {"t": words}).with_numbers("u", *encoded(frame["u"]))
    grouped = piece.with_constants(pl.Series("same", ["s"])).grouped(["n", "t", "u", "same"], [pl.col("amount").sum()])
    expected: dict[tuple, int] = {}
    for (t, u, n), amount in rows:
        expected[n, t, u, "s"] = expected.get((n, t, u, "s"), 0) + amount
    assert {row[:4]: row[4] for row in grouped.rows()} == expected
    assert len(grouped) == len(expected)


class Written(pandera.DataFrameModel):
    request_id: str
    record_number: pl.Int64
    text: str = pandera.Field(nullable=True)
    count: pl.Int64
    at: Instant
    cost: Usd = pandera.Field(nullable=True)
    usage_date: pl.Date


WRITTEN_ROW = st.fixed_dictionaries(
    {
        "request_id": st.text(max_size=9),
        "text": st.sampled_from([None, "", "ü", "a" * 40]),
        "count": st.sampled_from([0, 0, 0, 7, 300, 2**62]),
        "at": st.sampled_from([datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 1, 9, 30, 1, 5, tzinfo=UTC)]),
        "cost": st.sampled_from([None, None, Decimal("0.000000000001")]),
        "usage_date": st.just(date(2026, 6, 1)),
    }
)


@settings(deadline=None, max_examples=60)
@given(st.lists(WRITTEN_ROW, max_size=9), st.lists(st.integers(0, 9), max_size=3), st.sampled_from([2, 3, 100]))
def test_a_partition_holds_its_rows_and_its_bytes_do_not_depend_on_the_pieces(rows, cuts, group_rows):
    """Read back by Polars, by DuckDB and as pieces; written from one piece, and from several with words or without,
    some of which were on disk before."""
    numbered_rows = [{"record_number": at + 1, **row} for at, row in enumerate(rows)]
    frame = pl.DataFrame(numbered_rows, schema=polars_schema(Written))
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [narrow(frame.slice(a, b - a)) for a, b in itertools.pairwise(edges)]
    some_words = [with_words(piece) if at % 2 else piece for at, piece in enumerate(pieces)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "ROW_GROUP_ROWS", group_rows)
        whole, parts = Path(folder) / "whole.parquet", Path(folder) / "parts.parquet"
        for at, piece in enumerate(some_words):
            if at % 3 and len(piece):
                write_piece(piece, Path(folder) / f"{at}.arrow")
                some_words[at] = open_piece(Path(folder) / f"{at}.arrow")
        assert write_partition([narrow(frame)], Written, whole) == len(rows)
        assert write_partition(some_words, Written, parts) == len(rows)
        assert whole.read_bytes() == parts.read_bytes()
        assert pl.read_parquet(whole).equals(frame)
        assert dict(pl.read_parquet(whole).schema) == polars_schema(Written)
        seen = duckdb.sql(f"SELECT request_id, text, count, cost, usage_date FROM read_parquet('{whole}')").fetchall()
        assert seen == frame.select("request_id", "text", "count", "cost", "usage_date").rows()
        for columns in (list(frame.columns), ["usage_date"], ["text", "count"]):
            held = [piece.frame(columns) for piece in open_partition(whole, columns)]
            assert pl.concat([frame.clear().select(columns), *held]).equals(frame.select(columns))


def with_words(piece: Piece) -> Piece:
    if "text" not in piece.varying.columns:
        return piece
    numbers, words = encoded(piece.varying["text"])
    return Piece(piece.varying.with_columns(numbers), piece.constants, {"text": words})
