"""Prices in time: daily windows of schedules, and every instant inside a day at which a price changes.

What lives here: schedule windows as intervals, which schedules are active at an instant, PriceEdges. What does not:
which price wins (price_segments.py). All clocks are UTC; a window belongs to the day on which it starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
_Edge = tuple[str, str, datetime]


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
class PriceEdges:
    """The instants at which a price of (provider, model) can change, looked up for any of thousands of days.

    An edge is where a price row, a dated alias or a contract starts or ends, and where a window of a schedule that one
    of the rows follows opens or closes. `model` is the logged name.
    """

    fixed: Mapping[date, frozenset[_Edge]]
    """Edges on whatever day, by their UTC day."""
    scheduled: tuple[tuple[str, str, str, datetime, datetime | None], ...]
    """Provider, model and schedule of rows that follow one, and from when until when they do."""
    schedules: pl.DataFrame

    @classmethod
    def of(
        cls,
        book: pl.DataFrame,
        schedules: pl.DataFrame,
        resolution: pl.DataFrame,
        contracts: pl.DataFrame | None = None,
    ) -> PriceEdges:
        """All edges of a price book for the names of `resolution`, which leads from them to candidates in the book."""
        names = resolution.select("provider", "model", "price_provider", "price_model").unique()
        key = {"left_on": ["price_provider", "price_model"], "right_on": ["provider", "model"]}
        rows = names.join(book, **key)  # type: ignore[arg-type]
        dated = [rows, resolution]
        if contracts is not None:
            dated.append(names.select("provider", "model").unique().join(contracts, on="provider"))
        edges = [frame.select("provider", "model", name) for frame in dated for name in ("valid_from", "valid_to")]
        by_day: dict[date, set[_Edge]] = {}
        for provider, model, edge in {row for frame in edges for row in frame.drop_nulls().unique().iter_rows()}:
            by_day.setdefault(edge.date(), set()).add((provider, model, edge))
        follow = rows.filter(pl.col("schedule").is_not_null())
        followed = follow.select("provider", "model", "schedule", "valid_from", "valid_to").unique().sort(pl.all())
        return cls({day: frozenset(found) for day, found in by_day.items()}, tuple(followed.iter_rows()), schedules)

    def inside(self, day: date) -> pl.DataFrame:
        """The edges strictly inside a UTC day: provider, model, edge (EDGE_SCHEMA), in this order."""
        opens = datetime.combine(day, time(), tzinfo=UTC)
        closes = opens + _DAY
        found = set(self.fixed.get(day, ()))
        following: dict[str, set[tuple[str, str]]] = {}
        for provider, model, schedule, begins, ends in self.scheduled:
            if begins < closes and (ends is None or ends > opens):
                following.setdefault(schedule, set()).add((provider, model))
        if following:
            for schedule, *window in schedule_windows(self.schedules, [day]).iter_rows():
                found |= {(*name, edge) for name in following.get(schedule, ()) for edge in window}
        edges = sorted(edge for edge in found if opens < edge[2] < closes)
        return pl.DataFrame(edges, schema=EDGE_SCHEMA, orient="row")


def _runs_on(row: dict[str, Any], day: date) -> bool:
    text = day.isoformat()
    if text in (row["include_dates"] or "").split():
        return True
    if text in (row["exclude_dates"] or "").split():
        return False
    return row["weekdays"] is None or str(day.isoweekday()) in row["weekdays"]
