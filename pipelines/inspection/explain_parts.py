"""What the effective cost of one row is the sum of: contracted cost, shares of the bill, commitments, machines.

What lives here: the summands. What does not: where shares come from (explain_shares.py, explain_ledger.py), the page
(explain.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from pipelines.inspection.explain_shares import Day
from pipelines.transforms.rollup import SELF_HOSTED

ROW_KEY = ("team", "cost_center", "provider", "account", "model", "service_tier")
_OF_THE_BILL = (
    ("int__allocated_tokens", "shares of billed token keys"),
    ("int__allocated_shared", "shares of other charges"),
)


@dataclass(frozen=True)
class Part:
    """One summand of a row's effective cost."""

    what: str
    amount_usd: Decimal


def parts_of(row: Mapping[str, object], day: Day, feature: str) -> tuple[Part, ...]:
    """The summands of a row of int__feature_cost_daily; none where its effective cost is unknown."""
    contracted, effective = row["contracted_cost_usd"], row["effective_cost_usd"]
    if not isinstance(effective, Decimal):
        return ()
    if row["provider"] == SELF_HOSTED:
        return _machines(row, day, feature)
    if row["cost_status"] == "estimated":
        return (Part("contracted cost of logged usage (no complete bill)", Decimal(str(contracted))),)
    parts = []
    for table, what in _OF_THE_BILL:
        mine = _of_row(day(table), row, feature)
        if mine.height:
            parts.append(Part(what, _sum(mine, "effective_cost_usd")))
    amortised = _of_row(day("int__allocated_commitments"), row, feature)
    for commitment, shares in amortised.sort("commitment_id").group_by("commitment_id", maintain_order=True):
        parts.append(Part(f"commitment {commitment[0]} of commitments.csv", _sum(shares, "effective_cost_usd")))
    if row["provider"] == "anthropic" and row["service_tier"] == "priority" and isinstance(contracted, Decimal):
        parts.append(Part("contracted cost of a tier that the bill leaves out by rule", contracted))
    return tuple(parts) or (Part("logged, and not named by the complete bill", Decimal(0)),)


def _machines(row: Mapping[str, object], day: Day, feature: str) -> tuple[Part, ...]:
    shares = day("int__infrastructure_shares").with_columns(
        pl.lit(SELF_HOSTED).alias("provider"), pl.col("deployment").alias("account")
    )
    mine = _of_row(shares, row, feature)
    busy, whole = _sum(mine, "busy_cost_usd"), _sum(mine, "usage_cost_usd")
    parts = (
        Part("share of the machines' busy time (infrastructure ledger)", busy),
        Part("share of their idle time", whole - busy),
    )
    return tuple(part for part in parts if part.amount_usd) or parts[:1]


def _of_row(frame: pl.DataFrame, row: Mapping[str, object], feature: str) -> pl.DataFrame:
    is_same = [pl.col(name).eq_missing(pl.lit(row[name], dtype=pl.String)) for name in ROW_KEY]
    return frame.filter(pl.col("feature") == feature, *is_same)


def _sum(frame: pl.DataFrame, column: str) -> Decimal:
    return Decimal(str(frame[column].sum())) if len(frame) else Decimal(0)
