"""Exact list prices of the demo's own table: which price a group of calls has, and what its tokens cost.

What lives here: slots (spans of time with constant prices), lookups, Decimal cost by component. What does not: the
product's price book, of which this is deliberately independent; discounts and rounding of bills (writers_bills.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal

import polars as pl

from pipelines.demo.scenario import PricePeriod, Scenario
from pipelines.errors import PriceBookError

PER_MILLION = Decimal(1).scaleb(-6)
PER_THOUSAND = Decimal(1).scaleb(-3)

PRICE_KEYS = ("provider", "model", "service_tier", "price_slot", "is_long", "is_peak")
"""Columns of a calls frame that decide the price of its tokens."""


@dataclass(frozen=True)
class DemoPrices:
    """The scenario's price table, ready for lookups by (provider, model, tier, slot, long prompt, peak hour)."""

    scenario: Scenario

    @property
    def changes(self) -> list[datetime]:
        """Instants at which any price changes, in order; slot n lies between change n - 1 and change n."""
        return sorted({row.valid_from for row in self.scenario.prices if row.valid_from is not None})

    def slot(self, started_at: pl.Expr) -> pl.Expr:
        """Number of price changes up to and including an instant (Int32)."""
        counted = pl.lit(0, dtype=pl.Int32)
        for instant in self.changes:
            counted = counted + (started_at >= pl.lit(instant, dtype=pl.Datetime("us", "UTC"))).cast(pl.Int32)
        return counted

    def is_long(self, provider: str, model: str, prompt_tokens: pl.Expr) -> pl.Expr:
        """True where the whole prompt lies above the model's context band."""
        bands = {
            row.above for row in self.scenario.prices if (row.provider, row.model) == (provider, model) and row.above
        }
        return prompt_tokens > min(bands) if bands else pl.lit(False)

    def is_peak(self, provider: str, model: str, started_at: pl.Expr) -> pl.Expr:
        """True in peak hours of a model that has them."""
        periods = [
            row
            for row in self.scenario.prices
            if (row.provider, row.model) == (provider, model) and row.peak_factor > 1
        ]
        if not periods:
            return pl.lit(False)
        begins = min(row.valid_from for row in periods if row.valid_from is not None)
        peak = self.scenario.peak
        return (
            (started_at >= pl.lit(begins, dtype=pl.Datetime("us", "UTC")))
            & (started_at.dt.weekday() <= 5)
            & started_at.dt.hour().is_in(list(peak.hours))
            & ~started_at.dt.date().is_in(list(peak.holidays))
        )

    def period(self, provider: str, model: str, service_tier: str, price_slot: int, is_long: bool) -> PricePeriod:
        """The one row in force in a slot. Raises PriceBookError when there is none, or more."""
        opens = self._slot_start(price_slot)
        candidates = [
            row
            for row in self.scenario.prices
            if (row.provider, row.model, row.service_tier) == (provider, model, service_tier)
            and (row.valid_from is None or row.valid_from <= opens)
            and (row.valid_to is None or opens < row.valid_to)
            and bool(row.above) == is_long
        ]
        if len(candidates) != 1:
            raise PriceBookError(
                f"{len(candidates)} demo prices for {provider} {model} {service_tier} at {opens.isoformat()}",
                where="data/demo/scenario.toml, prices",
                expected="exactly one",
                next_move="add or date the row",
            )
        return candidates[0]

    def _slot_start(self, price_slot: int) -> datetime:
        if price_slot:
            return self.changes[price_slot - 1]
        return datetime.combine(self.scenario.quarter.first_day, time(), tzinfo=UTC)


def component_costs(period: PricePeriod, quantities: Mapping[str, int], *, is_peak: bool) -> dict[str, Decimal]:
    """Exact USD at list price by component, for the components with a quantity above zero. Exact, never rounded."""
    factor = Decimal(period.peak_factor if is_peak else 1)
    costs = {}
    for component, quantity in quantities.items():
        if quantity:
            per_unit = PER_THOUSAND if component == "web_search" else PER_MILLION
            costs[component] = Decimal(period.components[component]) * factor * quantity * per_unit
    return costs
