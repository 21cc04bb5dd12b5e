"""One chunk of a usage table, with columns already under our names, as canonical rows.

What lives here: conversion of values of any type (text, integers, decimals, floats, timestamps) by whole columns, and
the faults that a value can have. What does not: reading files (usage_files.py), the mapping's words
(column_mapping.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import polars as pl

from pipelines.connectors.base import canonical_piece, service_tier
from pipelines.connectors.column_mapping import CACHE_COLUMNS, COUNT_COLUMNS, INPUT_TOTAL, TEXT_COLUMNS, ColumnMapping
from pipelines.connectors.reading.few_words import by_distinct
from pipelines.connectors.reading.instants import (
    INSTANT,
    format_instants,
    instants_from_numbers,
    parse_instants,
    typed_instants,
)
from pipelines.connectors.reading.providers import provider_name
from pipelines.connectors.reading.record_faults import Fault, split_faults
from pipelines.connectors.reading.tag_text import read_tags, tag_text
from pipelines.pieces import Piece, recoded
from pipelines.quantities import METERS, parse_decimal

NULL_WORDS: tuple[str, ...] = ("", "NULL", "null", "None", "NaN", "nan", "\\N")
"""Texts that mean "no value" in exports of databases and dataframes."""

STATUS_WORDS: Mapping[str, str] = {
    "ok": "success",
    "succeeded": "success",
    "completed": "success",
    "error": "failure",
    "failed": "failure",
    "canceled": "cancelled",
}
"""Common words for a status → ours. Other words stay themselves and are left to the contract."""

_EXACT_FLOAT = 2**53
_TAG = "tags."
_BAD = "bad."
_GIVEN = "given.started_at"


def usage_rows(
    frame: pl.DataFrame,
    mapping: ColumnMapping,
    extra: tuple[Fault, ...] = (),
    words: Mapping[str, pl.Series] | None = None,
) -> tuple[Piece, list[pl.DataFrame]]:
    """Canonical rows of a chunk, and its rejects.

    `frame` has `record_number` and any of KNOWN_COLUMNS and `tags.<key>` in any dtype; `extra` are faults that the
    reader found, named first. words: the texts of columns in which `frame` holds their numbers.
    """
    present = set(frame.columns)
    columns: dict[str, pl.Series] = {"record_number": frame["record_number"]}
    said = dict(words or {})
    for name in ("is_malformed", "type_error"):
        if name in present:
            columns[name] = frame[name]
    for name in TEXT_COLUMNS:
        if name in present and name not in mapping.constants:
            read = _OUR_WORDS.get(name, _read_texts)
            if name in said:
                columns[name], said[name] = recoded(frame[name], said[name], read)
            else:
                columns[name] = by_distinct(frame[name].cast(pl.String, strict=False), read)
    if "started_at" in present:
        columns[_GIVEN] = (
            frame["started_at"].is_not_null()
            if frame["started_at"].dtype != pl.String
            else (read_texts(frame["started_at"]).is_not_null())
        )
        columns["started_at"] = read_instants(frame["started_at"], mapping)
    for name in (*COUNT_COLUMNS, "requests"):
        if name in present:
            columns[name], columns[_BAD + name] = read_counts(frame[name])
    for name, scale in (*((meter, 9) for meter in METERS), ("reported_cost_usd", 12)):
        if name in present:
            columns[name], columns[_BAD + name] = read_decimals(frame[name], scale)
    _add_tags(frame, columns)
    read_frame = pl.DataFrame({name: series.alias(name) for name, series in columns.items()})
    good, rejected = split_faults(read_frame, (*extra, *_faults(read_frame, mapping.constants)))
    constants = {
        name: _OUR_WORDS.get(name, _read_texts)(pl.Series([text]))[0] for name, text in mapping.constants.items()
    }
    return canonical_piece(_leaves(good, mapping), said, constants), rejected


def read_texts(values: pl.Series) -> pl.Series:
    """Identifiers as stripped text; the NULL_WORDS are NULL."""
    return by_distinct(values.cast(pl.String, strict=False), _read_texts)


def _read_texts(texts: pl.Series) -> pl.Series:
    stripped = texts.str.strip_chars()
    is_null = stripped.is_in(NULL_WORDS)
    return stripped.set(is_null, None) if is_null.any() else stripped


def _by(rule: pl.Expr) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: _read_texts(texts).alias("text").to_frame().select(rule).to_series()


_OUR_WORDS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    "provider": _by(provider_name(pl.col("text"))),
    "service_tier": _by(service_tier(pl.col("text"))),
    "status": _by(pl.col("text").str.to_lowercase().replace(dict(STATUS_WORDS))),
}
"""Columns whose texts have canonical words."""


def read_counts(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Whole numbers as Int64, and a mask of values that are given and are none: 12.5, text, more than 64 bits.

    Integers, decimals, floats up to 2^53 and their texts are read; 12.0 is 12. Negative counts pass: they are for
    the contract to name.
    """
    given = values.is_not_null()
    if values.dtype.is_integer():
        counts = values.cast(pl.Int64, strict=False)
    elif values.dtype == pl.String:
        texts = read_texts(values)
        given = texts.is_not_null()
        counts = texts.cast(pl.Int64, strict=False)
        if counts.null_count() > texts.null_count():
            counts = pl.select(pl.coalesce(counts, _whole(texts.cast(pl.Float64, strict=False)))).to_series()
    elif values.dtype.is_float():
        counts = _whole(values.cast(pl.Float64))
    elif values.dtype.is_decimal():
        counts = values.cast(pl.Int64, strict=False)
        counts = counts.set(values != values.floor(), None)
    else:
        counts = pl.repeat(None, len(values), dtype=pl.Int64, eager=True)
    return counts, given & counts.is_null()


def _whole(values: pl.Series) -> pl.Series:
    whole = values.is_finite() & (values == values.floor()) & (values.abs() <= _EXACT_FLOAT)
    return values.set(~whole, None).cast(pl.Int64, strict=False)


def read_decimals(values: pl.Series, scale: int) -> tuple[pl.Series, pl.Series]:
    """Amounts as Decimal(38, scale), and a mask of values that are given and are no decimal number.

    Floats are taken at their shortest text (the digits that were written), then everything is rounded half to even at
    the last place, exactly, in decimal arithmetic. Each distinct value is read once.
    """
    dtype = pl.Decimal(38, scale)
    if values.dtype.is_integer():
        return values.cast(dtype, strict=False), values.is_not_null() & values.cast(dtype, strict=False).is_null()
    texts = read_texts(values)
    distinct = texts.drop_nulls().unique()
    amounts = [_amount(text, scale) for text in distinct]
    known = pl.DataFrame({"text": distinct, "amount": amounts}, schema={"text": pl.String, "amount": dtype})
    joined = pl.DataFrame({"text": texts}).join(known, on="text", how="left", maintain_order="left")["amount"]
    return joined, texts.is_not_null() & joined.is_null()


def _amount(text: str, scale: int) -> Decimal | None:
    try:
        amount = parse_decimal(text).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)
    except (ValueError, InvalidOperation):
        return None
    return amount if amount.adjusted() < 38 - scale else None


def read_instants(values: pl.Series, mapping: ColumnMapping) -> pl.Series:
    """Start times as UTC instants, by the mapping's [time]; what is no instant is NULL."""
    if isinstance(values.dtype, pl.Datetime):
        return typed_instants(values, mapping.timezone)
    if values.dtype == pl.Date:
        return read_instants(values.cast(pl.Datetime("us")), mapping)
    if mapping.unit is not None:
        return instants_from_numbers(values, mapping.unit, origin=mapping.origin)
    if values.dtype != pl.String:
        return pl.repeat(None, len(values), dtype=INSTANT, eager=True)
    if mapping.time_format is not None:
        return format_instants(values, mapping.time_format, timezone=mapping.timezone)
    return parse_instants(values, timezone=mapping.timezone)


def _add_tags(frame: pl.DataFrame, columns: dict[str, pl.Series]) -> None:
    """Tags from a column of JSON (text, struct or map) and from single columns; single ones win for the same key."""
    singles = {name: read_texts(frame[name]) for name in frame.columns if name.startswith(_TAG)}
    if "tags" in frame.columns:
        columns["tags"], columns[_BAD + "tags"] = read_tags(_json_text(frame["tags"]))
    if not singles:
        return
    parts = pl.DataFrame({**singles, **({"tags": columns["tags"]} if "tags" in columns else {})})
    distinct = parts.unique(maintain_order=True)
    texts = [_merged(row) for row in distinct.iter_rows(named=True)]
    known = distinct.with_columns(pl.Series("text", texts, dtype=pl.String))
    columns["tags"] = parts.join(known, on=parts.columns, how="left", maintain_order="left", nulls_equal=True)["text"]


def _merged(row: dict[str, str | None]) -> str | None:
    whole = row.pop("tags", None)
    singles = {name.removeprefix(_TAG): value for name, value in row.items() if value is not None}
    return tag_text({**(json.loads(whole) if whole else {}), **singles})


def _json_text(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.Struct):
        return values.struct.json_encode()
    if isinstance(values.dtype, pl.List):
        pair = pl.element().struct.json_encode()
        return pl.DataFrame({"t": values}).select("[" + pl.col("t").list.eval(pair).list.join(",") + "]").to_series()
    return values.cast(pl.String, strict=False)


def _faults(read: pl.DataFrame, constants: Mapping[str, str]) -> list[Fault]:
    present = set(read.columns)
    faults = []
    if "started_at" in present:
        faults.append(Fault(~pl.col(_GIVEN), "missing_timestamp", "started_at"))
        faults.append(Fault(pl.col("started_at").is_null(), "bad_timestamp", "started_at"))
    else:
        faults.append(Fault(pl.lit(True), "missing_timestamp", "started_at"))
    for name in ("provider", "model"):
        if name not in constants:
            absent = pl.col(name).is_null() if name in present else pl.lit(True)
            faults.append(Fault(absent, f"missing_{name}", name))
    for names, code in (
        ((*COUNT_COLUMNS, "requests"), "bad_token_count"),
        ((*METERS, "reported_cost_usd"), "bad_amount"),
    ):
        faults.extend(Fault(pl.col(_BAD + name), code, name) for name in names if name in present)
    if _BAD + "tags" in present:
        faults.append(Fault(pl.col(_BAD + "tags"), "type_error", "tags"))
    counted = [pl.col(name).is_null() for name in (*COUNT_COLUMNS, *METERS) if name in present]
    succeeded = pl.lit(constants.get("status", "success") == "success")
    if "status" in present:
        succeeded = pl.col("status").fill_null("success") == "success"
    faults.append(Fault(succeeded & (pl.all_horizontal(counted) if counted else pl.lit(True)), "missing_usage"))
    return faults


def _leaves(good: pl.DataFrame, mapping: ColumnMapping) -> pl.DataFrame:
    """`input_tokens` split into disjoint leaves by subtraction; reasoning added to output where it stands beside it."""
    steps = []
    if INPUT_TOTAL in good.columns:
        cached = [pl.col(name).fill_null(0) for name in CACHE_COLUMNS if name in good.columns]
        off = pl.sum_horizontal(cached) if cached and mapping.input_includes_cache else pl.lit(0)
        steps.append((pl.col(INPUT_TOTAL).fill_null(0) - off).alias("input_uncached_tokens"))
    if mapping.output_excludes_reasoning and {"output_tokens", "reasoning_tokens"} <= set(good.columns):
        both = pl.col("output_tokens").fill_null(0) + pl.col("reasoning_tokens").fill_null(0)
        steps.append(both.alias("output_tokens"))
    return good.with_columns(steps).drop([n for n in good.columns if n.startswith((_BAD, _TAG))], strict=False)
