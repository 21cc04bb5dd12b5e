"""Prices in time against a brute-force oracle: which row is in force, and every instant at which that can change."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.reference import RefContractPrices, RefModelAliases, RefPriceSchedules
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_feeds.rows import FeedPrice
from pipelines.transforms.price_schedules import PriceEdges
from tests.unit.transforms.price_rows import book, key, price, segments, table

DAY = date(2025, 4, 2)  # a Wednesday
START = datetime.combine(DAY, time(), tzinfo=UTC)
MINUTES = st.integers(min_value=-2880, max_value=2880)
CLOCKS = st.integers(min_value=0, max_value=1439).map(lambda minutes: time(minutes // 60, minutes % 60))


@st.composite
def timelines(draw: st.DrawFn) -> list[FeedPrice]:
    """Up to four plain prices that follow each other, gaps allowed, and up to three that follow a schedule."""
    rows = []
    for schedule, usd in ((None, 1), ("s", 100)):
        cuts = sorted(draw(st.sets(MINUTES, min_size=2, max_size=5)))
        for number, (begin, end) in enumerate(itertools.pairwise(cuts)):
            if draw(st.booleans()):
                rows.append(
                    price(
                        str(usd + number),
                        schedule=schedule,
                        valid_from=START + timedelta(minutes=begin),
                        valid_to=START + timedelta(minutes=end),
                    )
                )
    return rows


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, object]:
    start, end = draw(CLOCKS), draw(CLOCKS)
    begins, ends = sorted(draw(st.lists(MINUTES, min_size=2, max_size=2, unique=True)))
    return {
        "schedule": "s",
        "timezone": "UTC",
        "start_time": start.isoformat("minutes"),
        "end_time": end.isoformat("minutes"),
        "weekdays": draw(st.sampled_from([None, "12345", "3", "24", "7"])),
        "exclude_dates": draw(st.sampled_from([None, "2025-04-02", "2025-04-01"])),
        "include_dates": draw(st.sampled_from([None, "2025-04-02"])),
        "valid_from": draw(st.sampled_from([None, START + timedelta(minutes=begins)])),
        "valid_to": draw(st.sampled_from([None, START + timedelta(minutes=ends)])),
        "source": "test",
    }


def is_open(schedule: dict[str, object], moment: datetime) -> bool:
    """Minute by minute, by the words of the contract: a window belongs to the UTC day on which it starts."""
    if schedule["valid_from"] is not None and moment < schedule["valid_from"]:  # type: ignore[operator]
        return False
    if schedule["valid_to"] is not None and moment >= schedule["valid_to"]:  # type: ignore[operator]
        return False
    start, end = time.fromisoformat(str(schedule["start_time"])), time.fromisoformat(str(schedule["end_time"]))
    clock = moment.timetz().replace(tzinfo=None)
    if start < end:
        inside, day = start <= clock < end, moment.date()
    else:
        inside = clock >= start or clock < end
        day = moment.date() if clock >= start else moment.date() - timedelta(days=1)
    if not inside:
        return False
    if day.isoformat() in str(schedule["include_dates"]):
        return True
    if day.isoformat() in str(schedule["exclude_dates"]):
        return False
    return schedule["weekdays"] is None or str(day.isoweekday()) in str(schedule["weekdays"])


def oracle(rows: list[FeedPrice], schedule: dict[str, object], moment: datetime) -> Decimal | None:
    """The price in force at `moment`: scheduled before plain."""
    for wanted in ("s", None):
        for row in rows:
            in_force = row.valid_from <= moment and (row.valid_to is None or moment < row.valid_to)
            if row.schedule == wanted and in_force and (wanted is None or is_open(schedule, moment)):
                return row.price_usd
    return None


@settings(max_examples=60, deadline=None)
@given(rows=timelines(), schedule=schedules())
def test_no_price_changes_inside_a_day_but_at_an_edge(rows: list[FeedPrice], schedule: dict[str, object]) -> None:
    prices = book(*rows)
    names = resolve_models(pl.DataFrame([key()]), prices, table(RefModelAliases))
    known = PriceEdges.of(prices, table(RefPriceSchedules, schedule), names, table(RefContractPrices))
    edges = set(known.inside(DAY).get_column("edge"))
    minutes = [START + timedelta(minutes=minute) for minute in range(1440)]
    changes = {
        moment
        for before, moment in itertools.pairwise(minutes)
        if oracle(rows, schedule, before) != oracle(rows, schedule, moment)
    }
    assert changes <= edges
    told = [moment for row in rows for moment in (row.valid_from, row.valid_to) if moment is not None]
    for days in (-30, -1, 0, 1, 30, 4_000):
        opens = START + timedelta(days=days)
        closes = opens + timedelta(days=1)
        found = known.inside(opens.date()).get_column("edge").to_list()
        assert {moment for moment in told if opens < moment < closes} <= set(found)
        assert all(opens < edge < closes for edge in found)
        assert found == sorted(set(found))
        followed = any(row.schedule and row.valid_from < closes and (row.valid_to or closes) > opens for row in rows)
        assert followed or set(found) <= set(told)


@settings(max_examples=25, deadline=None)
@given(rows=timelines(), schedule=schedules(), offsets=st.sets(st.integers(0, 1439), min_size=1, max_size=20))
def test_the_price_of_a_moment_is_the_one_in_force(
    rows: list[FeedPrice], schedule: dict[str, object], offsets: set[int]
) -> None:
    moments = [START + timedelta(minutes=offset) for offset in sorted(offsets)]
    moments += [row.valid_from for row in rows] + [row.valid_to for row in rows if row.valid_to]
    keys = [{**key(), "segment_start": moment} for moment in dict.fromkeys(moments)]
    found = segments(book(*rows), *keys, schedules=(schedule,))
    priced = {
        moment: unit * 1_000_000 for moment, unit in found.select("segment_start", "list_unit_price_usd").iter_rows()
    }
    for each in keys:
        moment = each["segment_start"]
        assert priced.get(moment) == oracle(rows, schedule, moment), moment
