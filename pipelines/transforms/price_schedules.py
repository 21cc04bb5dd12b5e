"""Prices in time: daily windows of schedules, and every instant inside a day at which a price changes.

What lives here: schedule windows as intervals, which schedules are active at an instant, price_edges. What does not:
which price wins (price_segments.py). All clocks are UTC; a window belongs to the day on which it starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

EDGE_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(),
    "model": pl.String(),
    "edge": pl.Datetime("us", "UTC"),
}
_WINDOW_SCHEMA: dict[str, pl.DataType] = {
    "schedule": pl.String(),
    "window_start": pl.Datetime("us", "UTC"),
    "window_end": pl.Datetime("us", "UTC"),
}
_DAY = timedelta(days=1)


def schedule_windows(schedules: pl.DataFrame, days: Iterable[date]) -> pl.DataFrame:
    """Half-open windows [window_start, window_end) of each schedule that touch one of the UTC days.

    Windows that start on the day before and pass midnight are included; each is cut to the validity of its row.
    """
    starts = sorted({day - shift for day in days for shift in (timedelta(0), _DAY)})
    found: list[tuple[str, datetime, datetime]] = []
    for row in schedules.iter_rows(named=True):
        begins, ends = time.fromisoformat(row["start_time"]), time.fromisoformat(row["end_time"])
        for day in starts:
            if not _runs_on(row, day):
                continue
            start = datetime.combine(day, begins, tzinfo=UTC)
            end = datetime.combine(day if ends > begins else day + _DAY, ends, tzinfo=UTC)
            start = max(start, row["valid_from"] or start)
            end = min(end, row["valid_to"] or end)
            if start < end:
                found.append((row["schedule"], start, end))
    return pl.DataFrame(found, schema=_WINDOW_SCHEMA, orient="row").unique(maintain_order=True)


def active_schedules(schedules: pl.DataFrame, instants: pl.Series) -> pl.DataFrame:
    """`schedule`, `segment_start`: which schedules have a window open at which of the instants."""
    moments = pl.DataFrame({"segment_start": instants.unique().sort()})
    days = moments.get_column("segment_start").dt.date().unique().to_list()
    windows = schedule_windows(schedules, days)
    return (
        windows.join_where(
            moments,
            pl.col("window_start") <= pl.col("segment_start"),
            pl.col("segment_start") < pl.col("window_end"),
        )
        .select("schedule", "segment_start")
        .unique()
        .sort("schedule", "segment_start")
    )


@dataclass(frozen=True)
class EdgeDays:
    """On which days price_edges can find anything at all; asked for thousands of days, it answers without a query."""

    dates: frozenset[date]
    scheduled: tuple[tuple[datetime, datetime | None], ...]

    @classmethod
    def of(cls, book: pl.DataFrame, resolution: pl.DataFrame, contracts: pl.DataFrame) -> EdgeDays:
        """The days of the same book, resolution and contracts that price_edges is to look at."""
        interval = ("valid_from", "valid_to")
        instants = [frame[name].drop_nulls() for frame in (book, resolution, contracts) for name in interval]
        dates = {moment for series in instants for moment in series.dt.date().unique()}
        scheduled = book.filter(pl.col("schedule").is_not_null()).select(interval).unique().rows()
        return cls(frozenset(dates), tuple(scheduled))

    def may_have(self, day: date) -> bool:
        """False only for a day without an edge."""
        opens = datetime.combine(day, time(), tzinfo=UTC)
        return day in self.dates or any(
            start < opens + _DAY and (end is None or end > opens) for start, end in self.scheduled
        )


def price_edges(
    book: pl.DataFrame,
    schedules: pl.DataFrame,
    resolution: pl.DataFrame,
    day: date,
    contracts: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Instants strictly inside the UTC day at which a price of (provider, model) can change: provider, model, edge.

    An edge is where a price row, a dated alias or a contract starts or ends, and where a window of a schedule that one
    of the rows follows opens or closes. `model` is the logged name, `resolution` leads to its candidates.
    """
    opens = datetime.combine(day, time(), tzinfo=UTC)
    closes = opens + _DAY
    names = resolution.select("provider", "model", "price_provider", "price_model").unique()
    rows = names.join(
        book.filter((pl.col("valid_from") < closes) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > opens))),
        left_on=["price_provider", "price_model"],
        right_on=["provider", "model"],
    )
    windows = schedule_windows(schedules, [day])
    scheduled = rows.filter(pl.col("schedule").is_not_null()).select("provider", "model", "schedule").unique()
    timed = scheduled.join(windows, on="schedule")
    parts = [
        rows.select("provider", "model", pl.col("valid_from").alias("edge")),
        rows.select("provider", "model", pl.col("valid_to").alias("edge")),
        resolution.select("provider", "model", pl.col("valid_from").alias("edge")),
        resolution.select("provider", "model", pl.col("valid_to").alias("edge")),
        timed.select("provider", "model", pl.col("window_start").alias("edge")),
        timed.select("provider", "model", pl.col("window_end").alias("edge")),
    ]
    if contracts is not None:
        billed = names.select("provider", "model").unique().join(contracts, on="provider")
        parts += [billed.select("provider", "model", pl.col(name).alias("edge")) for name in ("valid_from", "valid_to")]
    edges = pl.concat([part.cast(pl.Schema(EDGE_SCHEMA)) for part in parts])
    inside = edges.filter((pl.col("edge") > opens) & (pl.col("edge") < closes))
    return inside.unique().sort("provider", "model", "edge")


def _runs_on(row: dict[str, Any], day: date) -> bool:
    text = day.isoformat()
    if text in (row["include_dates"] or "").split():
        return True
    if text in (row["exclude_dates"] or "").split():
        return False
    return row["weekdays"] is None or str(day.isoweekday()) in row["weekdays"]
