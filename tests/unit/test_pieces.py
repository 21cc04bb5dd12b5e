"""Pieces: narrow files that give back exactly the rows that went in."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import pieces
from pipelines.pieces import narrow, open_piece, write_partition, write_piece

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
        "count": st.sampled_from([None, 0, 2**62]),
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


@pytest.mark.parametrize("eager_rows", [0, 10**6])
def test_a_partition_holds_the_pieces_in_their_order_streamed_or_not(tmp_path, monkeypatch, eager_rows):
    monkeypatch.setattr(pieces, "EAGER_ROWS", eager_rows)
    schema = {"request_id": pl.String(), "record_number": pl.Int64(), "text": pl.String()}
    frames = [
        pl.DataFrame(
            {"request_id": [f"{n}{k}" for k in range(50)], "record_number": range(50), "text": [f"t{n}"] * 50},
            schema=schema,
        )
        for n in range(5)
    ]
    rows = write_partition([narrow(frame) for frame in frames], schema, tmp_path / "p.parquet")
    assert rows == 250
    assert pl.read_parquet(tmp_path / "p.parquet").equals(pl.concat(frames))


def test_a_partition_without_rows_has_its_columns(tmp_path):
    schema = {"request_id": pl.String(), "record_number": pl.Int64()}
    assert write_partition([], schema, tmp_path / "p.parquet") == 0
    assert dict(pl.read_parquet(tmp_path / "p.parquet").schema) == schema
