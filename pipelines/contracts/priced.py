"""Contracts of logged usage on its way to a cost: owners, names, prices of the moment, cost by feature.

What lives here: int__ tables between the roll-ups and the match, and the reference tables that the run derives for
them. What does not: roll-ups (rollup.py), the match with bills (matched.py), marts (marts.py).
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Instant, Quantity, Usd
from pipelines.contracts.reference import PriceBook

UnitPrice = Annotated[pl.Decimal, 38, 18]
COST_STATUSES = ["estimated", "provisional", "final"]


class IntFeatureCostMonth(pa.DataFrameModel):
    """One row per month, feature, team and cost center.

    Feature cost summed over one month.
    """

    month: str
    month_start: pl.Date
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
    """One row per provider, account, model, service_tier, region, segment_start, component and context band; bands are
    disjoint.

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
    list_unit_price_usd: UnitPrice = pa.Field(nullable=True)
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
    """One row per roll-up row and component: a token leaf, a meter, `requests` (counts calls and their reasoning
    tokens, costs nothing) or `reported`.

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

    month: str
    today: pl.Date

    class Config:
        strict = True
        ordered = False


class RefPriceBook(PriceBook):
    """One row per public price in force, of every layer, as it is believed by this run."""
