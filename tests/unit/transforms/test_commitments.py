"""Commitments by day: the sum is the cost, the used part goes where the tokens went, the rest is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.contracts.commitments import IntAllocatedCommitments
from pipelines.lake import enforce
from pipelines.transforms.commitments import share_commitments
from tests.sql.cases import input_frame

MONTH = "2026-09"


def instant(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def shared(
    commitment: dict[str, Any], usage: list[dict[str, Any]], lines: list[dict[str, Any]] | None = None
) -> pl.DataFrame:
    row = {
        "commitment_id": "c1",
        "provider": "azure_openai",
        "account": "*",
        "model_pattern": "gpt-*",
        "kind": "ptu",
        **commitment,
    }
    common = {"provider": "azure_openai", "account": "s1", "model": "gpt-4o", "component": "output"}
    frames = (
        input_frame("ref__commitments", [row]),
        input_frame("int__usage_cost", [{**common, **one} for one in usage]),
        input_frame("int__bill_lines", [{"provider": "azure_openai", "account": "s1", **one} for one in lines or []]),
    )
    found = share_commitments(MONTH, *frames)
    enforce(IntAllocatedCommitments, found, "shares")
    return found


def by_feature(frame: pl.DataFrame) -> dict[str, Decimal]:
    return dict(frame.group_by("feature").agg(pl.col("effective_cost_usd").sum()).sort("feature").iter_rows())


def test_a_month_of_capacity_is_shared_by_use_and_the_rest_is_unused() -> None:
    """$300 a month is $10 a day of 30. Capacity 30,000,000 is 1,000,000 a day; chat used 250,000 and search 500,000 on
    one day: 2.50, 5.00, and 2.50 unused; the other 29 days are all unused: 290.00 + 2.50."""
    found = shared(
        {"cost_usd": 300, "period": "month", "capacity_tokens": 30_000_000},
        [
            {"usage_date": date(2026, 9, 5), "feature": "chat", "tokens": 250_000},
            {"usage_date": date(2026, 9, 5), "feature": "search", "tokens": 500_000},
            {"usage_date": date(2026, 9, 5), "feature": "other", "model": "o3", "tokens": 900_000},
        ],
    )
    assert by_feature(found) == {
        "__unused_commitment__": Decimal("292.50"),
        "chat": Decimal("2.50"),
        "search": Decimal("5.00"),
    }


def test_days_of_a_month_that_does_not_divide_sum_to_the_month() -> None:
    """$100 over 30 days is 3.33…: the days differ by a pico-dollar at most and sum to $100."""
    found = shared({"cost_usd": 100, "period": "month"}, [])
    assert found["effective_cost_usd"].sum() == Decimal(100)
    assert found["effective_cost_usd"].max() - found["effective_cost_usd"].min() == Decimal("0.000000000001")  # type: ignore[operator]


def test_an_hourly_price_counts_24_hours_of_every_day_it_holds() -> None:
    """$2 an hour from 3 to 5 September (half-open): 2 days × 24 × $2 = $96, all used where any token is."""
    found = shared(
        {"cost_usd": 2, "period": "hour", "valid_from": instant(2026, 9, 3), "valid_to": instant(2026, 9, 5)},
        [{"usage_date": date(2026, 9, 3), "feature": "chat", "tokens": 1}],
    )
    assert by_feature(found) == {"__unused_commitment__": Decimal(48), "chat": Decimal(48)}


def test_an_amount_paid_once_runs_over_its_days() -> None:
    """$365 over a year is $1 a day: 30 in September."""
    found = shared(
        {
            "cost_usd": 365,
            "period": "once",
            "valid_from": instant(2026, 1, 1),
            "valid_to": instant(2027, 1, 1),
            "kind": "reservation",
        },
        [],
    )
    assert by_feature(found) == {"__unused_commitment__": Decimal(30)}


def test_a_bill_that_amortises_by_itself_is_not_told_twice() -> None:
    found = shared(
        {"cost_usd": 300, "period": "month"}, [], [{"billed_cost_usd": Decimal(0), "effective_cost_usd": Decimal(7)}]
    )
    assert found.is_empty()


def test_more_use_than_capacity_leaves_nothing_unused() -> None:
    found = shared(
        {"cost_usd": 30, "period": "month", "capacity_tokens": 30},
        [{"usage_date": date(2026, 9, day), "feature": "chat", "tokens": 5} for day in range(1, 31)],
    )
    assert by_feature(found) == {"chat": Decimal(30)}
