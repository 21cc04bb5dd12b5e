"""Timestamps of any log as UTC instants: text, epoch numbers, relative numbers, typed columns.

What lives here: whole-column conversions that stay fast on millions of rows. What does not: which column is the time,
and the meaning of a missing one. A value that is no instant gives NULL, for the caller to reject.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pyarrow as pa

from pipelines.connectors.base import utc_instant

INSTANT = pl.Datetime("us", "UTC")

MICROSECONDS: dict[str, int] = {
    "microseconds": 1,
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
}
"""Unit of a number → how many microseconds it is. `nanoseconds` divides instead."""

UNITS: tuple[str, ...] = ("nanoseconds", *MICROSECONDS)

_FIRST_YEAR_US = -62_135_596_800_000_000
_LAST_YEAR_US = 253_402_300_800_000_000
_HAS_ZONE = r"(?i)\d\s*(z|utc|[+-]\d{2}:?\d{2}|(?::\d{2}|\.\d{1,9})[+-]\d{2})$"


def parse_instants(texts: pl.Series, *, timezone: str | None = None) -> pl.Series:
    """ISO 8601 texts as instants, by the rules of base.utc_instant, but an order of magnitude faster on RFC 3339 text.

    `timezone` says how to read texts without zone (default UTC). A local time that a clock change repeats is taken as
    the earlier one, one that a clock change skips is NULL.
    """
    at_once = _as_iso_8601(texts)
    if at_once is not None:
        return _within_years(at_once)
    fast = texts.str.strptime(INSTANT, "%+", strict=False)
    fast = _within_years(fast)
    if fast.null_count() == texts.null_count():
        return fast
    open_rows = fast.is_null() & texts.is_not_null()
    rest = pl.DataFrame({"text": texts.filter(open_rows)}).with_columns(utc_instant(pl.col("text")).alias("instant"))
    if timezone is not None:
        naive = ~pl.col("text").str.strip_chars().str.contains(_HAS_ZONE)
        local = localise(pl.col("instant").dt.replace_time_zone(None), timezone)
        rest = rest.with_columns(pl.when(naive).then(local).otherwise(pl.col("instant")).alias("instant"))
    return _within_years(fast.scatter(open_rows.arg_true(), rest["instant"]))


def _within_years(instants: pl.Series) -> pl.Series:
    """Without instants outside the years 1 to 9999, which is as far as dates go."""
    at = instants.dt.epoch("us")
    if at.null_count() == len(at) or (at.min() >= _FIRST_YEAR_US and at.max() < _LAST_YEAR_US):  # type: ignore[operator]
        return instants
    return instants.set(~at.is_between(_FIRST_YEAR_US, _LAST_YEAR_US, closed="left"), None)


def typed_instants(values: pl.Series, timezone: str | None = None) -> pl.Series:
    """A column of datetimes as instants; those without a zone are local to `timezone` (default UTC)."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        return _within_years(values.dt.convert_time_zone("UTC").cast(INSTANT))
    local = pl.DataFrame({"t": values}).select(localise(pl.col("t"), timezone or "UTC"))["t"]
    return _within_years(local)


def _as_iso_8601(texts: pl.Series) -> pl.Series | None:
    """All texts read by Arrow, which is eight times faster; None unless each is an ISO 8601 instant with a zone and at
    most six digits of a second."""
    try:
        instants = texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return None
    return pl.Series(texts.name, instants, dtype=INSTANT)


def localise(naive: pl.Expr, timezone: str) -> pl.Expr:
    """Naive datetimes read as local time of `timezone`, in UTC."""
    local = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def format_instants(texts: pl.Series, pattern: str, *, timezone: str | None = None) -> pl.Series:
    """Texts read by a strftime pattern; without a zone in the pattern they are local to `timezone` (default UTC)."""
    frame = pl.DataFrame({"text": texts.str.strip_chars()})
    if "%z" in pattern or "%:z" in pattern or "%+" in pattern:
        zoned = pl.col("text").str.strptime(INSTANT, pattern, strict=False)
        return _within_years(frame.select(zoned.alias("instant"))["instant"])
    naive = pl.col("text").str.strptime(pl.Datetime("us"), pattern, strict=False)
    return _within_years(frame.select(localise(naive, timezone or "UTC").alias("instant"))["instant"])


def instants_from_numbers(values: pl.Series, unit: str, *, origin: datetime | None = None) -> pl.Series:
    """Numbers (or their texts) of `unit` since `origin` (default the Unix epoch) as instants.

    Whole numbers are exact; fractions are rounded to the microsecond. What falls outside the years 1 to 9999 is NULL:
    that is how a wrong unit shows.
    """
    start = 0 if origin is None else pl.Series([origin]).cast(INSTANT).dt.epoch("us").item()
    text = values.str.strip_chars() if values.dtype == pl.String else values
    frame = pl.DataFrame({"whole": text.cast(pl.Int64, strict=False), "fraction": text.cast(pl.Float64, strict=False)})
    whole, fraction = pl.col("whole"), pl.col("fraction")
    if values.dtype.is_float() or values.dtype.is_decimal():
        whole = pl.when(fraction == fraction.floor()).then(whole)
    if unit == "nanoseconds":
        exact, rounded, limit = whole // 1_000, fraction / 1_000, _LAST_YEAR_US * 1_000
    else:
        factor = MICROSECONDS[unit]
        exact, rounded, limit = whole * factor, fraction * factor, _LAST_YEAR_US // factor
    in_range = fraction.is_finite() & (fraction.abs() < limit)
    shifted = pl.coalesce(exact, pl.when(in_range).then(rounded.round()).cast(pl.Int64, strict=False)) + start
    legal = in_range & (shifted < _LAST_YEAR_US) & (shifted > _FIRST_YEAR_US)
    return frame.select(pl.when(legal).then(shifted).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("t"))[
        "t"
    ]
