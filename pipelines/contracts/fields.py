"""Columns that several tables share, each defined once, and the few helpers that every contract needs.

What lives here: column groups as Pandera mixins, dtype aliases, `polars_schema`, `breaches`. What does not: any table.
Same quantity, same name everywhere; the unit is in the name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import Annotated

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from pipelines.contracts.suspects import schema_of, suspects

Instant = Annotated[pl.Datetime, "us", "UTC"]
Usd = Annotated[pl.Decimal, 38, 12]
Quantity = Annotated[pl.Decimal, 38, 9]

PROVIDER_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
TIER_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"
UNSPECIFIED_REGION = "unspecified"
DEFAULT_ACCOUNT = "default"
FIRST_DAY = date(2015, 1, 1)
LAST_DAY = date(2099, 12, 31)
"""Days outside are a unit error of the time stamp (milliseconds read as seconds), not usage."""
MOST_TOKENS = 10**15
"""No row can hold more: a larger count is a unit error, and sums of such rows could overflow."""
STATUSES = ("success", "failure", "blocked", "cancelled")


class Provenance(pa.DataFrameModel):
    """Where a row comes from: file and record number lead back to the raw bytes."""

    source: str
    landed_file: str = pa.Field(str_matches=r"^[0-9a-f]{16}$")
    record_number: pl.Int64 = pa.Field(ge=1)


class PriceKey(pa.DataFrameModel):
    """Who bills, and every dimension that can change a price."""

    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    account: str = pa.Field(str_length={"min_value": 1, "max_value": 256})
    model: str = pa.Field(str_length={"min_value": 1, "max_value": 256})
    service_tier: str = pa.Field(str_matches=TIER_PATTERN)
    region: str = pa.Field(str_length={"min_value": 1, "max_value": 64})


class TokenLeaves(pa.DataFrameModel):
    """Disjoint token classes (quantities.LEAVES) and the reasoning subset of output. Counts of 0 to MOST_TOKENS."""

    input_uncached_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_read_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_write_5m_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_write_1h_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_write_30m_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_write_12h_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_write_unknown_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    input_tool_use_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    embedding_input_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    input_audio_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    input_image_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    input_video_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    cache_read_audio_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    output_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    output_audio_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    output_image_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)
    reasoning_tokens: pl.Int64 = pa.Field(ge=0, le=MOST_TOKENS)


class Attribution(pa.DataFrameModel):
    """What rules in features.csv may look at. Values are identifiers, never free text."""

    feature_tag: str = pa.Field(nullable=True)
    api_key_id: str = pa.Field(nullable=True)
    user_group: str = pa.Field(nullable=True)
    session_id: str = pa.Field(nullable=True)
    tags: str = pa.Field(nullable=True)


def polars_schema(contract: type[pa.DataFrameModel]) -> dict[str, pl.DataType]:
    """Column → Polars dtype of a contract, in its order; the one source of schemas for empty and written tables."""
    return dict(_dtypes(contract))


@cache
def _dtypes(contract: type[pa.DataFrameModel]) -> dict[str, pl.DataType]:
    return {name: column.dtype.type for name, column in contract.to_schema().columns.items()}


def empty(contract: type[pa.DataFrameModel]) -> pl.DataFrame:
    """A frame of the contract's columns without rows."""
    return without_rows(tuple(_dtypes(contract).items())).clone()


@cache
def without_rows(schema: tuple[tuple[str, pl.DataType], ...]) -> pl.DataFrame:
    """A frame without rows; made once, because making one of many columns costs as much as a small query."""
    return pl.DataFrame(schema=dict(schema))


def breaches(contract: type[pa.DataFrameModel], frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of `frame` that break `contract`: `row` (0-based UInt32), `column`, `rule`; empty when all is well.

    All rows are checked, none sampled: column aggregates find the rows that may break a rule (suspects.py), Pandera
    names what they break. A breach that belongs to no row (a missing column, a wrong dtype) raises the
    SchemaErrors of Pandera: that is a fault of code, not of data.
    """
    found = suspects(contract, frame)
    if found is None:
        return _by_pandera(contract.to_schema(), frame)
    if not len(found.rows):
        return _no_breaches()
    named = _by_pandera(schema_of(contract, found.columns), frame.select(found.columns)[found.rows])
    if named["row"].n_unique() != len(found.rows):
        return _by_pandera(contract.to_schema(), frame)
    return named.with_columns(found.rows.gather(named["row"]).alias("row"))


def _by_pandera(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> pl.DataFrame:
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases: pl.DataFrame = error.failure_cases
        if cases["index"].null_count():
            raise
        return cases.select(
            pl.col("index").cast(pl.UInt32).alias("row"),
            pl.col("column").cast(pl.String),
            pl.col("check").cast(pl.String).alias("rule"),
        )
    return _no_breaches()


def _no_breaches() -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.UInt32, "column": pl.String, "rule": pl.String})


def conform(
    frame: pl.DataFrame, contract: type[pa.DataFrameModel], *, columns: Iterable[str] | None = None
) -> pl.DataFrame:
    """`frame` with exactly the contract's columns, in order and dtype; absent columns become NULL. Casts are strict."""
    schema = polars_schema(contract)
    wanted = list(columns or schema)
    present = set(frame.columns)
    return frame.select(
        pl.col(name).cast(schema[name]) if name in present else pl.lit(None, dtype=schema[name]).alias(name)
        for name in wanted
    )
