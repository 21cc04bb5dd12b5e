"""Contract of the money side: what provider cost exports and FOCUS bills become.

What lives here: core__billing. What does not: prices (reference.py), anything allocated (marts.py).
Words and meanings are FOCUS 1.2: billed, effective, list, contracted cost; charge category, charge class.
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import PROVIDER_PATTERN, Instant, Provenance, Quantity, Usd

CHARGE_CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")


class CoreBilling(Provenance):
    """One row per bill line as the provider wrote it, in the bill's currency. Do not sum across currencies or sources.

    `usage_date` is the UTC day of `charge_period_start`. `is_token_charge` says that the line bills tokens; `component`
    is then the token leaf where the line tells it. Model, tier, region, component are NULL where the bill has no such
    detail;
    `account` is `*` where the export was not grouped by account. `commitment_status` says of a line under a commitment
    whether it bills use or what nobody used. List and contracted cost are NULL where not given.
    """

    usage_date: pl.Date
    charge_period_start: Instant
    charge_period_end: Instant
    billing_month: str = pa.Field(str_matches=r"^\d{4}-\d{2}$", nullable=True)
    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    account: str = pa.Field(str_length={"min_value": 1, "max_value": 256})
    invoice_id: str = pa.Field(nullable=True)
    charge_category: str = pa.Field(isin=CHARGE_CATEGORIES)
    charge_class: str = pa.Field(isin=["Correction"], nullable=True)
    commitment_status: str = pa.Field(isin=["Used", "Unused"], nullable=True)
    charge_description: str = pa.Field(nullable=True)
    service_name: str = pa.Field(nullable=True)
    sku_id: str = pa.Field(nullable=True)
    resource_id: str = pa.Field(nullable=True)
    is_token_charge: pl.Boolean
    model: str = pa.Field(nullable=True)
    service_tier: str = pa.Field(nullable=True)
    region: str = pa.Field(nullable=True)
    component: str = pa.Field(nullable=True)
    consumed_quantity: Quantity = pa.Field(nullable=True)
    consumed_unit: str = pa.Field(nullable=True)
    billing_currency: str = pa.Field(str_matches=r"^[A-Z]{3}$")
    billed_cost_in_currency: Usd
    effective_cost_in_currency: Usd
    list_cost_in_currency: Usd = pa.Field(nullable=True)
    contracted_cost_in_currency: Usd = pa.Field(nullable=True)
    tags: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False
