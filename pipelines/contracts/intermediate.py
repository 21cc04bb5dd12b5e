"""Contracts of the steps between core and marts: owners, prices of the moment, match keys, shares.

What lives here: one class per int__ table that is not a roll-up, and the reference tables that the run derives. What does
not: roll-ups (rollup.py), marts (marts.py), what the columns are computed from (sql/, derived_tables.py).
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Instant, Quantity, Usd
from pipelines.contracts.reference import PriceBook

UnitPrice = Annotated[pl.Decimal, 38, 18]
COST_STATUSES = ["estimated", "provisional", "final"]


class RefPriceBook(PriceBook):
    """One row per public price in force, of every layer, as it is believed by this run."""


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


class IntBillCoverage(pa.DataFrameModel):
    """One row per provider, account (`*` = any) and UTC day with a complete bill bucket.

    Days on which a provider's bill is complete.
    """

    provider: str
    account: str
    usage_date: pl.Date

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


class IntFeatureCostMonth(pa.DataFrameModel):
    """One row per month, feature, team and cost center.

    Feature cost summed over one month.
    """

    month: str
    month_start: pl.Date
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    requests: pl.Int64 = pa.Field(ge=0)
    input_tokens: pl.Int64 = pa.Field(ge=0)
    cached_input_tokens: pl.Int64 = pa.Field(ge=0)
    cache_write_tokens: pl.Int64 = pa.Field(ge=0)
    output_tokens: pl.Int64 = pa.Field(ge=0)
    reasoning_tokens: pl.Int64 = pa.Field(ge=0)
    total_tokens: pl.Int64 = pa.Field(ge=0)
    unpriced_tokens: pl.Int64 = pa.Field(ge=0)
    list_cost_usd: Usd = pa.Field(nullable=True)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    billed_cost_usd: Usd = pa.Field(nullable=True)
    effective_cost_usd: Usd = pa.Field(nullable=True)
    non_token_cost_usd: Usd = pa.Field(nullable=True)
    worst_status: pl.Int32

    class Config:
        strict = True
        ordered = False


class IntFeatureOwner(pa.DataFrameModel):
    """One row per UTC day and distinct set of owner fields in the roll-ups.

    Which feature owns which traffic.
    """

    usage_date: pl.Date
    source: str
    account: str
    model: str
    api_key_id: str = pa.Field(nullable=True)
    feature_tag: str = pa.Field(nullable=True)
    user_group: str = pa.Field(nullable=True)
    session_id: str = pa.Field(nullable=True)
    tags: str = pa.Field(nullable=True)
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    rule_priority: pl.Int64 = pa.Field(nullable=True)
    rule_field: str = pa.Field(nullable=True)
    rule_pattern: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntLoggedKeyed(pa.DataFrameModel):
    """One row per row of int__usage_cost that tokens or a reported cost stand behind.

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


class IntModelNames(pa.DataFrameModel):
    """One row per provider, model and interval.

    Names under which models are compared.
    """

    provider: str
    model: str
    match_model: str
    valid_from: Instant = pa.Field(nullable=True)
    valid_to: Instant = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntNearestModels(pa.DataFrameModel):
    """One row per unpriced provider and model.

    Names that look like the unpriced ones.
    """

    provider: str
    model: str
    reason: str
    nearest_ids: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntPriceSegments(pa.DataFrameModel):
    """One row per provider, account, model, service_tier, region, segment_start, component and context band; bands are disjoint.

    Price of every component for each priced moment.
    """

    provider: str
    account: str
    model: str
    service_tier: str
    region: str
    segment_start: Instant
    component: str
    prompt_tokens_gt: pl.Int64
    prompt_tokens_le: pl.Int64 = pa.Field(nullable=True)
    tier_scope: str
    list_unit_price_usd: UnitPrice
    contracted_unit_price_usd: UnitPrice
    price_id: str = pa.Field(nullable=True)
    contract_id: str = pa.Field(nullable=True)
    priced_as: str
    valid_from_basis: str
    is_low_confidence: pl.Boolean
    price_model: str
    normaliser: str = pa.Field(nullable=True)

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


class IntUnattributedMonth(pa.DataFrameModel):
    """One row per month, source, account, API key, user group and tag values.

    Traffic of one month that belongs to no feature.
    """

    month: str
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

    class Config:
        strict = True
        ordered = False


class IntUnpricedMonth(pa.DataFrameModel):
    """One row per month, provider, model, service tier, region and component without a price.

    Usage of one month that no price row covers.
    """

    month: str
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

    class Config:
        strict = True
        ordered = False


class IntUsageCost(pa.DataFrameModel):
    """One row per UTC day, feature, price key, status, component and whether it could be priced.

    Logged usage at list and contracted price, by feature and component.
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
    requests: pl.Int64 = pa.Field(ge=0)
    reasoning_tokens: pl.Int64 = pa.Field(ge=0)
    meter_quantity: Quantity = pa.Field(nullable=True)
    list_cost_usd: Usd = pa.Field(nullable=True)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    low_confidence_tokens: pl.Int64 = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False


class IntUsagePriced(pa.DataFrameModel):
    """One row per roll-up row and component: a token leaf, a meter, `requests` (counts calls and their reasoning tokens, costs nothing) or `reported`.

    Every rolled-up token and meter with the price of its moment.
    """

    row_number: pl.Int64
    usage_date: pl.Date
    segment_start: Instant
    source: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    rule_priority: pl.Int64 = pa.Field(nullable=True)
    rule_field: str = pa.Field(nullable=True)
    rule_pattern: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    region: str
    context_band_gt: pl.Int64
    price_basis: str
    feature_tag: str = pa.Field(nullable=True)
    api_key_id: str = pa.Field(nullable=True)
    user_group: str = pa.Field(nullable=True)
    tags: str = pa.Field(nullable=True)
    status: str
    component: str
    tokens: pl.Int64 = pa.Field(ge=0)
    requests: pl.Int64 = pa.Field(ge=0)
    reasoning_tokens: pl.Int64 = pa.Field(ge=0)
    meter_quantity: Quantity = pa.Field(nullable=True)
    list_cost_usd: Usd = pa.Field(nullable=True)
    contracted_cost_usd: Usd = pa.Field(nullable=True)
    is_unpriced: pl.Boolean
    lacks_price: pl.Boolean
    is_low_confidence: pl.Boolean
    price_id: str = pa.Field(nullable=True)
    contract_id: str = pa.Field(nullable=True)
    normaliser: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class RefClock(pa.DataFrameModel):
    """One row per month: the UTC day it is seen from.

    The run's clock.
    """

    today: pl.Date

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
