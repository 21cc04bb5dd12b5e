"""Prepaid amounts are drawn down by use: what was drawn, by whom, and what was left when the amount expired.

What lives here: the balance of every prepaid commitment (kind `prepaid`, period `once`) from its first day on. What
does not: commitments that are owed by time (commitments.py), bills that amortise by themselves (sql/).

- A day's use draws what it would have cost at contracted price, less what the bill charges for it all the same. With
  `capacity_tokens` a token draws its part of the amount instead.
- Several amounts for the same use: the one that expires first is drawn first, then by name. An amount is never
  overdrawn; where it runs out in a day, the day's users share what was left in proportion.
- What is left on the last day before `valid_to` is `__unused_commitment__` on that day. Without an end nothing expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from pipelines.quantities import USD_SCALE, largest_remainder
from pipelines.transforms.commitments import ANY, IS_DRAWN_DOWN, OWNER_OF_DAY, SCHEMA, UNUSED, amortised_by_the_bill
from pipelines.transforms.matching import pico, usd

USE_SCHEMA: Mapping[str, pl.DataType] = {
    "usage_date": pl.Date(),
    **{name: pl.String() for name in OWNER_OF_DAY},
    "tokens": pl.Int64(),
    "unbilled_cost_usd": pl.Decimal(38, 12),
}
_Row = dict[str, Any]


def prepaid_use(
    commitments: pl.DataFrame, usage: pl.DataFrame, allocated: pl.DataFrame, lines: pl.DataFrame
) -> pl.DataFrame:
    """Use that prepaid amounts may pay for, by day and owner (USE_SCHEMA): its tokens, and its contracted cost as far
    as no bill line of the day pays for it.

    commitments: ref__commitments; usage: int__usage_cost; allocated: int__allocated_tokens; lines: int__bill_lines.
    Accounts whose bill amortises by itself in the month are left out.
    """
    prepaid = commitments.filter(IS_DRAWN_DOWN)
    if prepaid.is_empty():
        return pl.DataFrame(schema=USE_SCHEMA)
    day = ["usage_date", *OWNER_OF_DAY]
    told = amortised_by_the_bill(lines)
    mine = usage.filter(
        pl.col("provider").is_in(prepaid["provider"].unique().to_list())
        & ~pl.col("status").is_in(["failure", "blocked"])
        & (pl.col("tokens") > 0)
    )
    whole = [provider for provider, account in told if account == ANY]
    parts = pl.DataFrame(sorted(told), schema={"provider": pl.String, "account": pl.String}, orient="row")
    mine = mine.filter(~pl.col("provider").is_in(whole)).join(parts, on=["provider", "account"], how="anti")
    used = mine.group_by(day).agg(pl.col("tokens").sum(), pico("contracted_cost_usd").sum().alias("cost"))
    billed = allocated.group_by(day).agg(pico("billed_cost_usd").sum().alias("billed"))
    rest = pl.max_horizontal(pl.col("cost").fill_null(0) - pl.col("billed").fill_null(0), pl.lit(0, dtype=pl.Int128))
    beside = used.join(billed, on=day, how="left", nulls_equal=True).with_columns(rest.alias("rest"))
    return beside.select(*day, "tokens", usd("rest").alias("unbilled_cost_usd")).sort(*day, nulls_last=True)


def draw_down(commitments: pl.DataFrame, use: pl.DataFrame, last_day: date) -> pl.DataFrame:
    """What every prepaid amount paid for, by day and owner, and what expired (columns of commitments.SCHEMA).

    use: prepaid_use of all months. `last_day`: no amount expires after it yet. Per amount the rows sum to what it cost
    once it has expired or is used up, and to no more before.
    """
    amounts = [_amount(row) for row in commitments.filter(IS_DRAWN_DOWN).iter_rows(named=True)]
    amounts.sort(key=lambda amount: (amount["end"] or date.max, amount["commitment_id"], amount["first"]))
    drawn: list[tuple[Any, ...]] = []
    days = {day: rows.to_dicts() for (day,), rows in use.partition_by("usage_date", as_dict=True).items()}
    ends = {amount["end"] - timedelta(days=1) for amount in amounts if amount["end"]}
    for day in sorted({*days, *(end for end in ends if end <= last_day)}):
        for row in days.get(day, []):
            row["rest"] = int(row["unbilled_cost_usd"].scaleb(USD_SCALE))
        for amount in amounts:
            if amount["first"] <= day and (amount["end"] is None or day < amount["end"]):
                drawn += _draw(amount, day, [row for row in days.get(day, []) if _is_covered(amount, row)])
                if amount["end"] == day + timedelta(days=1) and amount["left"]:
                    owner = {"feature": UNUSED, "provider": amount["provider"], "account": amount["account"]}
                    drawn.append(_entry(amount, day, {**owner, "model": ANY, "service_tier": ANY}, amount["left"]))
                    amount["left"] = 0
    schema = {**{name: kind for name, kind in SCHEMA.items() if name != "effective_cost_usd"}, "pico": pl.Int128()}
    frame = pl.DataFrame(drawn, schema=schema, orient="row").with_columns(usd("pico").alias("effective_cost_usd"))
    return frame.select(list(SCHEMA)).sort("usage_date", "commitment_id", *OWNER_OF_DAY, nulls_last=True)


def _amount(row: Mapping[str, Any]) -> _Row:
    cost = int(Decimal(row["cost_usd"]).scaleb(USD_SCALE))
    first = row["valid_from"].date() if row["valid_from"] else date.min
    end = row["valid_to"].date() if row["valid_to"] else None
    return {**row, "cost": cost, "left": cost, "tokens": 0, "first": first, "end": end}


def _is_covered(amount: _Row, row: _Row) -> bool:
    return (
        row["provider"] == amount["provider"]
        and amount["account"] in (ANY, row["account"])
        and fnmatchcase(row["model"], amount["model_pattern"])
    )


def _draw(amount: _Row, day: date, rows: list[_Row]) -> list[tuple[Any, ...]]:
    """Draw a day's use from one amount; what it pays for is no longer asked of the next one."""
    weights = [row["tokens"] if amount["capacity_tokens"] else row["rest"] for row in rows]
    wanted = sum(weights)
    if amount["capacity_tokens"]:
        before = amount["cost"] * min(amount["tokens"], amount["capacity_tokens"]) // amount["capacity_tokens"]
        amount["tokens"] += wanted
        after = amount["cost"] * min(amount["tokens"], amount["capacity_tokens"]) // amount["capacity_tokens"]
        paid = after - before
    else:
        paid = min(wanted, amount["left"])
    if not paid:
        return []
    amount["left"] -= paid
    entries = []
    for row, share in zip(rows, largest_remainder(paid, weights), strict=True):
        if share:
            entries.append(_entry(amount, day, row, share))
        row["rest"] = max(0, row["rest"] - share)
    return entries


def _entry(amount: _Row, day: date, owner: Mapping[str, Any], share: int) -> tuple[Any, ...]:
    return (day, amount["commitment_id"], amount["kind"], *(owner.get(name) for name in OWNER_OF_DAY), share)
