"""Contracts of the three-way match: bill lines, the keys they are compared at, claims, shares and causes.

What lives here: int__ tables from core__billing and provider usage to shares of the bill. What does not: logged usage
and its prices (priced.py), marts (marts.py), what the columns are computed from (sql/, derived_tables.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Quantity, Usd


class IntAllocatedShared(pa.DataFrameModel):
    """One row per pool and claimant; per pool the shares sum to the bill exactly.

    Credits, fees, taxes and purchases shared out by largest remainder.
    """

    usage_date: pl.Date
    key_id: str
    charge_kind: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    component: str
    billed_cost_usd: Usd
    effective_cost_usd: Usd

    class Config:
        strict = True
        ordered = False


class IntAllocatedTokens(pa.DataFrameModel):
    """One row per billed key and claimant; per key the shares sum to the bill exactly.

    Token charges shared out by largest remainder.
    """

    usage_date: pl.Date
    key_id: str
    match_level: pl.Int32
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    component: str
    billed_cost_usd: Usd
    effective_cost_usd: Usd

    class Config:
        strict = True
        ordered = False


class IntBillClock(pa.DataFrameModel):
    """One row per month: the UTC day, standing still once nothing that billed the month restates it.

    The day from which a month's bills are judged.
    """

    month: str
    today: pl.Date

    class Config:
        strict = True
        ordered = False


class IntBillCoverage(pa.DataFrameModel):
    """One row per provider, account (`*` = any) and UTC day with a complete bill, every line of it in dollars.

    Days on which a provider's bill is complete.
    """

    provider: str
    account: str
    usage_date: pl.Date

    class Config:
        strict = True
        ordered = False


class IntBillSources(pa.DataFrameModel):
    """One row per provider, account (`*` = any), UTC day and bill source that counts there.

    Which bill source counts for each provider, account and day.
    """

    usage_date: pl.Date
    source: str
    provider: str
    account: str
    is_complete: pl.Boolean

    class Config:
        strict = True
        ordered = False


class IntBillLines(pa.DataFrameModel):
    """One row per bill line of the source that counts for its provider, account and day.

    Bill lines that count, in dollars, by kind of charge.
    """

    usage_date: pl.Date
    source: str
    landed_file: str
    record_number: pl.Int64
    provider: str
    account: str
    invoice_id: str = pa.Field(nullable=True)
    billing_month: str = pa.Field(nullable=True)
    charge_class: str = pa.Field(nullable=True)
    charge_description: str = pa.Field(nullable=True)
    service_name: str = pa.Field(nullable=True)
    sku_id: str = pa.Field(nullable=True)
    charge_kind: str
    match_model: str = pa.Field(nullable=True)
    service_tier: str = pa.Field(nullable=True)
    component: str = pa.Field(nullable=True)
    consumed_quantity: Quantity = pa.Field(nullable=True)
    consumed_unit: str = pa.Field(nullable=True)
    billing_currency: str
    fx_rate_id: str = pa.Field(nullable=True)
    billed_cost_usd: Usd = pa.Field(nullable=True)
    effective_cost_usd: Usd = pa.Field(nullable=True)
    billed_cost_at_invoice_rate_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntBilledKeys(pa.DataFrameModel):
    """One row per match key: UTC day, provider, account, model, tier, component, `*` where a side lacks the detail.

    Billed tokens by the finest key that every side can be compared at.
    """

    key_id: str
    usage_date: pl.Date
    provider: str
    key_account: str
    key_model: str
    key_tier: str
    key_component: str
    match_level: pl.Int32
    bill_lines: pl.Int64 = pa.Field(ge=0)
    billed_cost_usd: Usd
    effective_cost_usd: Usd
    billed_cost_at_invoice_rate_usd: Usd

    class Config:
        strict = True
        ordered = False


class IntLoggedKeyed(pa.DataFrameModel):
    """One row per row of int__usage_cost that tokens or a reported cost stand behind, where its provider's bills are
    known.

    Logged tokens with the billed key that covers them.
    """

    usage_date: pl.Date
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    match_model: str
    service_tier: str
    status: str
    component: str
    match_component: str
    is_unpriced: pl.Boolean
    tokens: pl.Int64 = pa.Field(ge=0)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    key_id: str = pa.Field(nullable=True)
    match_level: pl.Int32 = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntMatchDetail(pa.DataFrameModel):
    """One row per provider and UTC day with billed tokens.

    How much detail logs, provider usage and bill share.
    """

    usage_date: pl.Date
    provider: str
    has_account: pl.Boolean
    has_model: pl.Boolean
    has_provider_usage: pl.Boolean

    class Config:
        strict = True
        ordered = False


class IntProviderCost(pa.DataFrameModel):
    """One row per UTC day, provider, account, model, tier and component of the provider's usage API.

    The provider's own counts at contracted price.
    """

    usage_date: pl.Date
    provider: str
    account: str
    match_model: str
    service_tier: str
    component: str
    is_meter: pl.Boolean
    tokens: pl.Int64 = pa.Field(ge=0)
    meter_quantity: Quantity = pa.Field(nullable=True)
    provider_cost_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntProviderKeyed(pa.DataFrameModel):
    """One row per token row of int__provider_cost.

    Provider-counted tokens with the billed key that covers them.
    """

    usage_date: pl.Date
    provider: str
    account: str
    match_model: str
    service_tier: str
    component: str
    tokens: pl.Int64 = pa.Field(ge=0)
    provider_cost_usd: Usd = pa.Field(nullable=True)
    key_id: str = pa.Field(nullable=True)
    match_level: pl.Int32 = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntReconciliationCauses(pa.DataFrameModel):
    """One row per UTC day, provider, account, cause and what it comes from.

    Every dollar between metered and billed cost, with its cause.
    """

    usage_date: pl.Date
    provider: str
    account: str
    cause: str
    evidence: str
    amount_usd: Usd

    class Config:
        strict = True
        ordered = False


class IntSharedClaims(pa.DataFrameModel):
    """One row per pool of other charges and claimant.

    Who may claim a share of credits, fees, taxes and purchases.
    """

    key_id: str
    usage_date: pl.Date
    charge_kind: str
    billed_cost_usd: Usd
    effective_cost_usd: Usd
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    component: str
    weight_usd: Usd

    class Config:
        strict = True
        ordered = False


class IntTokenClaims(pa.DataFrameModel):
    """One row per billed key and claimant; keys that nobody logged have one row without a claimant.

    Who may claim a share of each billed token key.
    """

    key_id: str
    usage_date: pl.Date
    provider: str
    key_account: str
    key_model: str
    key_tier: str
    key_component: str
    match_level: pl.Int32
    billed_cost_usd: Usd
    effective_cost_usd: Usd
    billed_cost_at_invoice_rate_usd: Usd
    has_provider_usage: pl.Boolean
    provider_tokens: pl.Int64 = pa.Field(ge=0, nullable=True)
    provider_cost_usd: Usd = pa.Field(nullable=True)
    feature: str = pa.Field(nullable=True)
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    account: str = pa.Field(nullable=True)
    model: str = pa.Field(nullable=True)
    service_tier: str = pa.Field(nullable=True)
    component: str = pa.Field(nullable=True)
    tokens: pl.Int64 = pa.Field(ge=0, nullable=True)
    unpriced_tokens: pl.Int64 = pa.Field(ge=0, nullable=True)
    contracted_cost_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class RefSharedCostWeights(pa.DataFrameModel):
    """One row per shared-cost rule and feature: its weight."""

    priority: pl.Int64
    feature: str
    weight: Usd

    class Config:
        strict = True
        ordered = False
