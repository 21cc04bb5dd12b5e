"""What the demo's calls cost: token and tool charges by day, account, model, tier and component, exact.

What lives here: list cost and billed cost (after an account's discount) of the ledger's calls. What does not: how a
provider writes them down (writers_bills.py, writers_focus.py), charges beside usage (tax, support, credits).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import polars as pl

from pipelines.demo.list_prices import PRICE_KEYS, DemoPrices, component_costs
from pipelines.demo.scenario import SELF_HOSTED, Scenario
from pipelines.demo.traffic import TOKENS

_HUNDRED = Decimal(100)


@dataclass(frozen=True)
class Charge:
    """One line before it is written: quantity in tokens (or searches), USD exact and unrounded.

    `component` is a token leaf, or `web_search`. `is_billed` is false for what never reaches a bill; `list_known` is
    false where no public list has the price.
    """

    usage_date: date
    provider: str
    account: str
    model: str
    service_tier: str
    is_long: bool
    component: str
    quantity: int
    list_usd: Decimal
    billed_usd: Decimal
    is_billed: bool
    list_known: bool

    @property
    def key(self) -> tuple[date, str, str, str, str, bool, str]:
        """What makes a line of its own; also the order of lines."""
        return (
            self.usage_date,
            self.provider,
            self.account,
            self.model,
            self.service_tier,
            self.is_long,
            self.component,
        )


def usage_charges(calls: pl.DataFrame, scenario: Scenario) -> list[Charge]:
    """Charges of all successful calls to APIs, one per key, ordered; calls at several prices of one day are summed."""
    prices = DemoPrices(scenario)
    keys = ("usage_date", "account", *PRICE_KEYS)
    sums = (
        calls.filter((pl.col("status") == "success") & (pl.col("provider") != SELF_HOSTED))
        .group_by(keys)
        .agg(pl.col(TOKENS).sum(), pl.col("web_search_requests").sum())
    )
    lines: dict[tuple[object, ...], Charge] = {}
    for row in sums.iter_rows(named=True):
        period = prices.period(*(row[name] for name in ("provider", "model", "service_tier", "price_slot", "is_long")))
        quantities = {name.removesuffix("_tokens"): row[name] for name in TOKENS}
        quantities["web_search"] = row["web_search_requests"]
        share = 1 - Decimal(scenario.discount_percent(row["provider"], row["account"])) / _HUNDRED
        for component, cost in component_costs(period, quantities, is_peak=row["is_peak"]).items():
            line = Charge(
                usage_date=row["usage_date"],
                provider=row["provider"],
                account=row["account"],
                model=row["model"],
                service_tier=row["service_tier"],
                is_long=row["is_long"],
                component=component,
                quantity=quantities[component],
                list_usd=cost,
                billed_usd=cost * share,
                is_billed=period.billed,
                list_known=period.list_known,
            )
            known = lines.get(line.key)
            lines[line.key] = line if known is None else _sum(known, line)
    return [lines[key] for key in sorted(lines)]


def _sum(one: Charge, other: Charge) -> Charge:
    return replace(
        one,
        quantity=one.quantity + other.quantity,
        list_usd=one.list_usd + other.list_usd,
        billed_usd=one.billed_usd + other.billed_usd,
    )
