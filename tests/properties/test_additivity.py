"""A month is the sum of its days, a range the sum of any split of it, and a ratio one sum over another.

What lives here: random feature costs of many days through the monthly models, against dictionaries of integers. What
does not: that days are computed independently (test_shares.py), reconciliation by month (test_invoices.py).
8 batches of 600 rows over 5 months: 4,800 rows, about 700 feature-months, 1,600 random ranges.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from tests.properties.models import PICO, many_cases, pico, run_models, usd

FIRST = date(2026, 1, 1)
COUNTS = (
    "requests", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "total_tokens", "unpriced_tokens",
)  # fmt: skip
COSTS = ("list_cost_usd", "contracted_cost_usd", "billed_cost_usd", "effective_cost_usd", "non_token_cost_usd")
STATUSES = ("final", "provisional", "estimated")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("additivity")


def drawn_row(draw: Random) -> dict[str, Any]:
    feature = draw.randrange(30)
    costs = {name: draw.choice((None, 0, draw.randint(-PICO, 900 * PICO))) for name in COSTS}
    if _is_priced_by_contract_alone(costs) and draw.random() < 0.8:
        costs["list_cost_usd"] = draw.randint(-PICO, 900 * PICO)
    return {
        "usage_date": FIRST + timedelta(days=draw.randrange(150)),
        "feature": f"f{feature}",
        "team": f"t{feature % 4}" if feature % 4 else None,
        "account": f"a{draw.randrange(10**6)}",
        "cost_status": draw.choice(STATUSES),
        **{name: draw.choice((0, draw.randrange(10**9))) for name in COUNTS},
        **costs,
    }


def _is_priced_by_contract_alone(row: dict[str, Any]) -> bool:
    return row["contracted_cost_usd"] is not None and row["list_cost_usd"] is None


def summed(rows: list[dict[str, Any]]) -> dict[str, int | None]:
    """Sums of counts and costs; a cost that no row knows is unknown, and so is list cost where a contract alone prices
    a row."""
    told: dict[str, int | None] = {name: sum(row[name] for row in rows) for name in COUNTS}
    for name in COSTS:
        known = [row[name] for row in rows if row[name] is not None]
        told[name] = sum(known) if known else None
    if any(_is_priced_by_contract_alone(row) for row in rows):
        told["list_cost_usd"] = None
    return told


def check_ratio(
    stored: Any, numerator: int | None, denominator: int | None, scale: int, digits: int, unit: int = 1
) -> None:
    if numerator is None or not denominator:
        assert stored is None
        return
    exact = Fraction(numerator * scale, denominator * unit)
    assert abs(Fraction(stored) - exact) <= Fraction(1, 10**digits) + abs(exact) / 10**15


@many_cases(8)
def test_months_are_their_days_and_ranges_are_any_split_of_them(draw: Random, folder: Path) -> None:
    rows = [drawn_row(draw) for _ in range(600)]
    tables = {"mart__feature_cost_daily": [{**row, **{name: usd(row[name]) for name in COSTS}} for row in rows]}
    made = run_models(["int__feature_cost_month", "mart__feature_cost_monthly"], tables, folder)
    by_month: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_month[f"{row['usage_date']:%Y-%m}", row["feature"], row["team"]].append(row)
    found = {(row["month"], row["feature"], row["team"]): row for row in made["mart__feature_cost_monthly"].to_dicts()}
    assert found.keys() == by_month.keys()
    for key, mine in by_month.items():
        row, sums = found[key], summed(mine)
        assert {name: row[name] for name in COUNTS} == {name: sums[name] for name in COUNTS}
        assert {name: pico(row[name]) for name in COSTS} == {name: sums[name] for name in COSTS}
        assert row["cost_status"] == max((one["cost_status"] for one in mine), key=STATUSES.index)
        effective = sums["effective_cost_usd"]
        check_ratio(row["cost_per_mtok_usd"], effective, sums["total_tokens"], 10**6, 12, PICO)
        check_ratio(row["cost_per_mtok_output_usd"], effective, sums["output_tokens"], 10**6, 12, PICO)
        whole = summed([one for other, rest in by_month.items() if other[0] == key[0] for one in rest])
        check_ratio(row["share_of_total_percent"], effective, whole["effective_cost_usd"], 100, 6)
        before = by_month.get((f"{(mine[0]['usage_date'].replace(day=1) - timedelta(days=1)):%Y-%m}", *key[1:]))
        was = summed(before)["effective_cost_usd"] if before else None
        change = None if effective is None or was is None else effective - was
        assert pico(row["change_on_month_before_usd"]) == change
    check_ranges(draw, rows, tables["mart__feature_cost_daily"])


def check_ranges(draw: Random, rows: list[dict[str, Any]], stored: list[dict[str, Any]]) -> None:
    """Exact decimals add up alike in one sum, day by day, and in any two pieces."""
    frame = pl.DataFrame(
        [(row["usage_date"], row["effective_cost_usd"]) for row in stored],
        schema={"usage_date": pl.Date, "effective_cost_usd": pl.Decimal(38, 12)},
        orient="row",
    )
    by_day = frame.group_by("usage_date").agg(pl.col("effective_cost_usd").sum())
    for _ in range(200):
        start, cut, end = sorted(draw.sample(range(151), 3))
        edges = [FIRST + timedelta(days=offset) for offset in (start, cut, end)]
        expected = sum(row["effective_cost_usd"] or 0 for row in rows if edges[0] <= row["usage_date"] < edges[2])
        for table in (frame, by_day):
            pieces = [
                table.filter((pl.col("usage_date") >= one) & (pl.col("usage_date") < two))["effective_cost_usd"].sum()
                for one, two in ((edges[0], edges[1]), (edges[1], edges[2]))
            ]
            assert sum(pico(piece) or 0 for piece in pieces) == expected
