"""What a commitment costs per day, and who used it: PTU, reservations, prepaid amounts, seats.

What lives here: amortising commitments.csv over days and sharing each day out by use. What does not: bills that
amortise by themselves (FOCUS lines with billed 0 and effective above 0), which bill lines are purchases (sql/).

- `hour`: cost × 24 a day. `month`: the month's cost over its days. `once`: the cost over the days of [valid_from,
  valid_to), on the first day where there is no end. The sum over all days is the cost, by largest remainder. A prepaid
  amount (kind `prepaid`, period `once`) is no cost of time: it is drawn down by use (prepaid.py).
- The used part goes to the features whose tokens the commitment covers (provider, account, model pattern), the unused
part of its capacity to `__unused_commitment__`. Without a stated capacity a day with any use is used, else unused.
- A commitment counts for nothing in a month in which its provider's bill amortises for its account: it would be told
  twice.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from pipelines.quantities import USD_SCALE, largest_remainder
from pipelines.transforms.allocation import share_out
from pipelines.transforms.matching import OWNER, usd

UNUSED = "__unused_commitment__"
ANY = "*"
SCHEMA: Mapping[str, pl.DataType] = {
    "usage_date": pl.Date(),
    "commitment_id": pl.String(),
    "kind": pl.String(),
    "feature": pl.String(),
    "team": pl.String(),
    "cost_center": pl.String(),
    "provider": pl.String(),
    "account": pl.String(),
    "model": pl.String(),
    "service_tier": pl.String(),
    "effective_cost_usd": pl.Decimal(38, 12),
}
OWNER_OF_DAY = [name for name in OWNER if name != "component"]
IS_DRAWN_DOWN = (pl.col("kind") == "prepaid") & (pl.col("period") == "once")
"""Rows of ref__commitments that are amounts which use draws from."""


def share_commitments(month: str, commitments: pl.DataFrame, usage: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Amortised cost of every commitment and day of `month` by who used it; columns of SCHEMA.

    commitments: ref__commitments; usage: int__usage_cost; lines: int__bill_lines. Per commitment and day the shares sum
    to the day's amortised cost exactly.
    """
    amortised = amortised_by_the_bill(lines)
    claims = [
        claim
        for commitment in commitments.filter(~IS_DRAWN_DOWN).sort("commitment_id", "valid_from").iter_rows(named=True)
        if not _is_told_by(amortised, commitment)
        for day, cost, days in _days(month, commitment)
        for claim in _claims(commitment, day, cost, days, usage)
    ]
    if not claims:
        return pl.DataFrame(schema=SCHEMA)
    known = {name: dtype for name, dtype in SCHEMA.items() if name != "effective_cost_usd"}
    schema = {**known, "pico": pl.Int128(), "weight": pl.Int128()}
    frame = pl.DataFrame(claims, schema=schema, orient="row").with_columns(
        pl.format("{}|{}|{}", "commitment_id", "provider", "usage_date").alias("pool")
    )
    shared = share_out(frame, pool="pool", amount="pico", weight="weight", tie=OWNER_OF_DAY, share="share")
    costs = shared.with_columns(usd("share").alias("effective_cost_usd")).filter(pl.col("effective_cost_usd") != 0)
    return costs.select(list(SCHEMA)).sort("usage_date", "commitment_id", *OWNER_OF_DAY, nulls_last=True)


def amortised_by_the_bill(lines: pl.DataFrame) -> set[tuple[str, str]]:
    """Providers and accounts (`*`: all) with lines of int__bill_lines that are billed 0 and cost something."""
    prepaid = lines.filter((pl.col("billed_cost_usd") == 0) & (pl.col("effective_cost_usd") > 0))
    return set(prepaid.select("provider", "account").unique().iter_rows())


def _is_told_by(amortised: set[tuple[str, str]], commitment: Mapping[str, Any]) -> bool:
    mine = commitment["account"]
    return any(
        provider == commitment["provider"] and (account == mine or ANY in (account, mine))
        for provider, account in amortised
    )


def _days(month: str, commitment: Mapping[str, Any]) -> Iterator[tuple[date, int, int]]:
    """UTC days of the month on which the commitment runs: day, its cost in pico-dollars, days of its period."""
    year, number = map(int, month.split("-"))
    length = calendar.monthrange(year, number)[1]
    first = commitment["valid_from"].date() if commitment["valid_from"] else date.min
    end = commitment["valid_to"].date() if commitment["valid_to"] else date.max
    cost = int(Decimal(commitment["cost_usd"]).scaleb(USD_SCALE))
    for offset in range(length):
        day = date(year, number, 1) + timedelta(days=offset)
        if not first <= day < end:
            continue
        if commitment["period"] == "hour":
            yield day, cost * 24, 0
        elif commitment["period"] == "month":
            yield day, largest_remainder(cost, [1] * length)[offset], length
        elif end < date.max and first > date.min:
            span = (end - first).days
            yield day, largest_remainder(cost, [1] * span)[(day - first).days], span
        elif day == first:
            yield day, cost, 1


def _claims(
    commitment: Mapping[str, Any], day: date, cost: int, days: int, usage: pl.DataFrame
) -> Iterator[tuple[object, ...]]:
    """Claimants of one day: the tokens that the commitment covers, and what of its capacity nobody used."""
    used = usage.filter(
        (pl.col("usage_date") == day)
        & (pl.col("provider") == commitment["provider"])
        & ((pl.col("account") == commitment["account"]) | (commitment["account"] == ANY))
        & ~pl.col("status").is_in(["failure", "blocked"])
        & (pl.col("tokens") > 0)
    )
    covered = [
        row
        for row in used.group_by(OWNER_OF_DAY)
        .agg(pl.col("tokens").sum())
        .sort(OWNER_OF_DAY, nulls_last=True)
        .iter_rows(named=True)
        if fnmatchcase(row["model"], commitment["model_pattern"])
    ]
    head = (day, commitment["commitment_id"], commitment["kind"])
    total = sum(row["tokens"] for row in covered)
    capacity = commitment["capacity_tokens"]
    per_day = 24 * capacity if capacity is not None and days == 0 else capacity
    scale = max(days, 1)
    unused = (0 if total else 1) if per_day is None else max(0, per_day - total * scale)
    for row in covered:
        yield *head, *(row[name] for name in OWNER_OF_DAY), cost, row["tokens"] * scale
    if unused or not total:
        owner = {"feature": UNUSED, "provider": commitment["provider"], "account": commitment["account"]}
        wild = {"model": ANY, "service_tier": ANY, "team": None, "cost_center": None}
        yield *head, *({**owner, **wild}[name] for name in OWNER_OF_DAY), cost, max(unused, 1)
