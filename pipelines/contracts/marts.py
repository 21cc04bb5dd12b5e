"""Contracts of the marts: what BI tools may rely on.

What lives here: one class per mart__ table. What does not: how a mart is computed (sql/marts).
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Quantity, Usd
from pipelines.contracts.priced import COST_STATUSES

Percent = Annotated[pl.Decimal, 18, 6]


class MartDataStatus(pa.DataFrameModel):
    """One row per source and account folder.

    How complete and how clean each source is.
    """

    source: str
    account: str
    files: pl.Int64 = pa.Field(ge=0)
    duplicate_files: pl.Int64 = pa.Field(ge=0)
    rejected_files: pl.Int64 = pa.Field(ge=0)
    held_files: pl.Int64 = pa.Field(ge=0)
    records: pl.Int64 = pa.Field(ge=0)
    accepted: pl.Int64 = pa.Field(ge=0)
    quarantined: pl.Int64 = pa.Field(ge=0)
    duplicate: pl.Int64 = pa.Field(ge=0)
    superseded: pl.Int64 = pa.Field(ge=0)
    not_usage: pl.Int64 = pa.Field(ge=0)
    data_from: pl.Date = pa.Field(nullable=True)
    data_through: pl.Date = pa.Field(nullable=True)
    complete_through: pl.Date = pa.Field(nullable=True)
    unpriced_tokens: pl.Int64 = pa.Field(ge=0)
    unexplained_usd: Usd = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False


class FeatureCosts(pa.DataFrameModel):
    """What a feature cost: computed (int__feature_cost_daily) and published (mart__feature_cost_daily) alike.

    Counts may be negative in Correction rows only; a check of sql/checks says so.
    """

    usage_date: pl.Date
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    requests: pl.Int64
    input_tokens: pl.Int64
    cached_input_tokens: pl.Int64
    cache_write_tokens: pl.Int64
    output_tokens: pl.Int64
    reasoning_tokens: pl.Int64
    total_tokens: pl.Int64
    unpriced_tokens: pl.Int64
    list_cost_usd: Usd = pa.Field(nullable=True)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    billed_cost_usd: Usd = pa.Field(nullable=True)
    effective_cost_usd: Usd = pa.Field(nullable=True)
    non_token_cost_usd: Usd = pa.Field(nullable=True)
    cost_status: str = pa.Field(isin=COST_STATUSES)
    cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    cost_per_mtok_output_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class MartFeatureCostDaily(FeatureCosts):
    """One row per UTC day, feature, team, cost center, provider, account, model and service tier, and correction.

    What each feature cost per UTC day, and per million tokens: closed months as they were frozen, open months as they
    are known now. Rows of `charge_class` Correction stand on the first day of an open month and carry what has changed
    in
    `corrected_month` since it was closed: they are part of every sum, and their counts and costs may be negative.
    """

    charge_class: str = pa.Field(isin=["Correction"], nullable=True)
    corrected_month: str = pa.Field(nullable=True)


class MartFeatureCostMonthly(pa.DataFrameModel):
    """One row per month, feature, team and cost center.

    What each feature cost per month, its share of the total and the change on the month before.
    """

    month: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    requests: pl.Int64
    input_tokens: pl.Int64
    cached_input_tokens: pl.Int64
    cache_write_tokens: pl.Int64
    output_tokens: pl.Int64
    reasoning_tokens: pl.Int64
    total_tokens: pl.Int64
    unpriced_tokens: pl.Int64
    list_cost_usd: Usd = pa.Field(nullable=True)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    billed_cost_usd: Usd = pa.Field(nullable=True)
    effective_cost_usd: Usd = pa.Field(nullable=True)
    non_token_cost_usd: Usd = pa.Field(nullable=True)
    cost_status: str = pa.Field(isin=COST_STATUSES)
    cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    cost_per_mtok_output_usd: Usd = pa.Field(nullable=True)
    share_of_total_percent: Percent = pa.Field(nullable=True)
    change_on_month_before_usd: Usd = pa.Field(nullable=True)
    change_on_month_before_percent: Percent = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class MartUnattributedUsage(pa.DataFrameModel):
    """One row per source, account, API key and tag values that no rule and no tag attributes.

    Traffic that belongs to no feature, and the rule that would catch it.
    """

    source: str
    account: str
    api_key_id: str = pa.Field(nullable=True)
    user_group: str = pa.Field(nullable=True)
    tags: str = pa.Field(nullable=True)
    first_day: pl.Date
    last_day: pl.Date
    requests: pl.Int64 = pa.Field(ge=0)
    total_tokens: pl.Int64 = pa.Field(ge=0)
    unpriced_tokens: pl.Int64 = pa.Field(ge=0)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    suggested_rule: str

    class Config:
        strict = True
        ordered = False


class MartUnpricedUsage(pa.DataFrameModel):
    """One row per provider, model, service tier, region and component without a price.

    Usage that no price row covers, with the nearest names the price book knows.
    """

    provider: str
    model: str
    service_tier: str
    region: str
    component: str
    first_day: pl.Date
    last_day: pl.Date
    tokens: pl.Int64 = pa.Field(ge=0)
    unpriced_tokens: pl.Int64 = pa.Field(ge=0)
    requests: pl.Int64 = pa.Field(ge=0)
    meter_quantity: Quantity = pa.Field(nullable=True)
    reason: str
    nearest_ids: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class ReconciledCosts(pa.DataFrameModel):
    """The witnesses of one provider and account over a time, and one column per named cause of their difference."""

    logged_tokens: pl.Int64 = pa.Field(ge=0)
    provider_tokens: pl.Int64 = pa.Field(ge=0, nullable=True)
    coverage: Percent = pa.Field(nullable=True)
    metered_cost_usd: Usd
    provider_cost_usd: Usd = pa.Field(nullable=True)
    billed_cost_usd: Usd = pa.Field(nullable=True)
    invoice_total_usd: Usd = pa.Field(nullable=True)
    price_gap_usd: Usd = pa.Field(nullable=True)
    unlogged_usd: Usd = pa.Field(nullable=True)
    overlogged_usd: Usd = pa.Field(nullable=True)
    unpriced_usd: Usd = pa.Field(nullable=True)
    non_token_charges_usd: Usd = pa.Field(nullable=True)
    credits_usd: Usd = pa.Field(nullable=True)
    tax_usd: Usd = pa.Field(nullable=True)
    commitment_usd: Usd = pa.Field(nullable=True)
    excluded_from_cost_api_usd: Usd = pa.Field(nullable=True)
    not_billed_usd: Usd = pa.Field(nullable=True)
    timing_usd: Usd = pa.Field(nullable=True)
    fx_usd: Usd = pa.Field(nullable=True)
    rounding_usd: Usd = pa.Field(nullable=True)
    unexplained_usd: Usd = pa.Field(nullable=True)
    status: str = pa.Field(isin=COST_STATUSES)
    reason: str = pa.Field(nullable=True)


class ReconciledDay(pa.DataFrameModel):
    """Whose day is reconciled."""

    usage_date: pl.Date
    provider: str
    account: str


class ReconciledMonth(pa.DataFrameModel):
    """Whose month is reconciled."""

    month: str
    provider: str
    account: str


class MartReconciliationDaily(ReconciledCosts, ReconciledDay):
    """One row per provider, account and UTC day.

    Logged, provider-counted and billed cost side by side, and every dollar between them by cause.
    """

    class Config:
        strict = True
        ordered = False


class MartReconciliationMonthly(ReconciledCosts, ReconciledMonth):
    """One row per provider, account and month.

    The month's tie-out: metered, provider-counted, billed and invoiced cost, with every cause between.
    """

    implied_discount_percent: Percent = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False
