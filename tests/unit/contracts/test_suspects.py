"""Rows that a contract refuses, found by column aggregates: the same as Pandera finds by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from pipelines.contracts import fields
from pipelines.contracts.dictionary import contracts
from pipelines.contracts.fields import MOST_TOKENS, breaches, empty, polars_schema
from pipelines.contracts.suspects import suspects
from pipelines.contracts.usage import CoreQuarantine, CoreUsage


class Sample(pa.DataFrameModel):
    """Every kind of rule that contracts use, nullable and not."""

    name: str = pa.Field(str_matches=r"^[a-z]{1,3}$")
    unanchored: str = pa.Field(str_matches=r"[0-9]", nullable=True)
    short: str = pa.Field(str_length={"min_value": 1, "max_value": 3})
    longer: str = pa.Field(str_length={"min_value": 2}, nullable=True)
    word: str = pa.Field(isin=("a", "b"))
    maybe: str = pa.Field(isin=("a", "b"), nullable=True)
    count: pl.Int64 = pa.Field(ge=0, le=10)
    positive: Annotated[pl.Decimal, 38, 9] = pa.Field(gt=0, nullable=True)
    day: pl.Date = pa.Field(ge=date(2026, 1, 1))

    class Config:
        strict = True


TEXT = st.sampled_from([None, "", "a", "b", "abc", "abcd", "é", "ééé", "éééé", "1", "x1", "A"])
ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(("name", "unanchored", "short", "longer", "word", "maybe"), TEXT),
        "count": st.sampled_from([None, -1, 0, 10, 11]),
        "positive": st.sampled_from([None, Decimal(-1), Decimal(0), Decimal("0.000000001")]),
        "day": st.sampled_from([None, date(2025, 12, 31), date(2026, 1, 1)]),
    }
)


def as_set(found: pl.DataFrame) -> set[tuple]:
    return set(found.rows())


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, max_size=6))
def test_aggregates_and_pandera_name_the_same_breaches(rows):
    frame = pl.DataFrame(rows, schema=polars_schema(Sample))
    assert as_set(breaches(Sample, frame)) == as_set(fields._by_pandera(Sample.to_schema(), frame))


def test_every_contract_is_understood():
    not_known = [name for name, contract in contracts().items() if suspects(contract, empty(contract)) is None]
    assert not_known == []


def good_row() -> dict:
    row = dict.fromkeys(polars_schema(CoreUsage)) | {n: 0 for n, t in polars_schema(CoreUsage).items() if t == pl.Int64}
    return row | {
        "source": "usage_table", "landed_file": "0" * 16, "record_number": 1, "part": 0, "provider": "openai",
        "account": "a", "model": "m", "service_tier": "standard", "region": "r", "usage_date": date(2026, 6, 1),
        "request_id": "r", "started_at": datetime(2026, 6, 1, tzinfo=UTC), "status": "success",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("input_uncached_tokens", -1), ("output_tokens", MOST_TOKENS + 1), ("provider", "Open AI"), ("model", ""),
        ("account", "x" * 257), ("status", "unheard"), ("request_id", None), ("landed_file", "xyz"),
        ("usage_date", date(1970, 1, 1)), ("record_number", 0), ("service_tier", "Über"),
    ],
)  # fmt: skip
def test_one_bad_row_among_many_is_found_with_its_column(column, value):
    rows = [good_row() for _ in range(1000)]
    rows[637][column] = value
    found = breaches(CoreUsage, pl.DataFrame(rows, schema=polars_schema(CoreUsage)))
    assert found.select("row", "column").rows() == [(637, column)]


def test_a_clean_frame_has_no_breaches_and_an_empty_one_neither():
    frame = pl.DataFrame([good_row()] * 3, schema=polars_schema(CoreUsage))
    assert len(breaches(CoreUsage, frame)) == len(breaches(CoreUsage, frame.clear())) == 0


@pytest.mark.parametrize(
    "spoil", [lambda f: f.drop("part"), lambda f: f.cast({"part": pl.Int64}), lambda f: f.with_columns(x=1)]
)
def test_other_columns_or_types_are_a_fault_of_code(spoil):
    with pytest.raises(SchemaErrors):
        breaches(CoreQuarantine, spoil(empty(CoreQuarantine)))
