"""Contracts of the roll-ups: the smallest tables from which every price, owner and mart can be computed again.

What lives here: int__usage_rollup, int__meter_rollup. What does not: prices, features (contracts/priced.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import STATUSES, Attribution, Instant, PriceKey, Quantity, TokenLeaves, Usd


class RollupKey(PriceKey, Attribution):
    """Everything that can change a price or an owner.

    `segment_start` is when the price segment of the row begins inside its UTC day: the day's start, or the last instant
    at
    which a price of the model changed; for self-hosted rows the start of their hour. `context_band_gt` is the largest
    context
    threshold of the price book that the whole prompt exceeds, 0 for none. `session_id` is kept only where a rule reads
    it, `tags` only the keys that rules read.
    """

    usage_date: pl.Date
    segment_start: Instant
    source: str
    status: str = pa.Field(isin=STATUSES)


class IntUsageRollup(RollupKey, TokenLeaves):
    """One row per price segment, context band and owner of one UTC day: sums over core__usage. Sum freely.

    `price_basis` is `reported` where the provider itself said what the calls cost (`reported_cost_usd`), else `book`.
    """

    context_band_gt: pl.Int64 = pa.Field(ge=0)
    price_basis: str = pa.Field(isin=("book", "reported"))
    requests: pl.Int64 = pa.Field(ge=0)
    reported_cost_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntMeterRollup(RollupKey):
    """One row per meter, price segment and owner of one UTC day: sums over core__meters. Never add quantities of two
    meters."""

    meter: str
    quantity: Quantity = pa.Field(gt=0)

    class Config:
        strict = True
        ordered = False
