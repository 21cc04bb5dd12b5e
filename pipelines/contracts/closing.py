"""Contracts of what a closed month needs: the frozen rows, what has changed since, and the journal of restatements.

What lives here: closed months, their frozen costs, differences, corrections, the gate, mart__closed_months and
mart__restatements. What does not: the marts of cost and reconciliation (marts.py), how a month is closed
(history/closing.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Instant, Usd
from pipelines.contracts.marts import FeatureCosts, MartFeatureCostDaily

MONTH_PATTERN = r"^\d{4}-(0[1-9]|1[0-2])$"
RESTATEMENT_CAUSES = [
    "late_usage",
    "provider_usage_arrived",
    "bill_arrived",
    "bill_restated",
    "price_corrected",
    "rules_changed",
    "fx",
    "code_changed",
]
"""In the order in which several causes of one change are applied."""


class FeatureKey(pa.DataFrameModel):
    """The key of feature costs without its day."""

    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str


class CostChange(pa.DataFrameModel):
    """A change of feature costs, any sign; NULL where the cost was and is unknown."""

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


class CoreClosedMonths(pa.DataFrameModel):
    """One row per closed month: when it was closed (recorded clock) and the sha256 of its frozen rows. Append-only."""

    month: str = pa.Field(str_matches=MONTH_PATTERN)
    closed_at: Instant
    closed_costs_sha256: str = pa.Field(str_matches=r"^[0-9a-f]{64}$")
    code_version: str

    class Config:
        strict = True
        ordered = False


class CoreClosedCosts(MartFeatureCostDaily):
    """One row per row of mart__feature_cost_daily that a closed month was frozen with. Never written again."""


class IntFeatureCostDaily(FeatureCosts):
    """One row per UTC day, feature, team, cost center, provider, account, model and service tier.

    What each feature cost, computed from all that is known now, closed months too.
    """


class IntMonthGate(pa.DataFrameModel):
    """One row per month, provider and account of the monthly reconciliation.

    Which account-months tie out well enough to be final.
    """

    month: str
    provider: str
    account: str
    billed_cost_usd: Usd = pa.Field(nullable=True)
    unexplained_usd: Usd = pa.Field(nullable=True)
    passes: pl.Boolean
    reason: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntSourceGaps(pa.DataFrameModel):
    """One row per month, source and account.

    What a month's sources leave without a price, and what their bills leave unexplained (without sign).
    """

    month: str
    source: str
    account: str
    unpriced_tokens: pl.Int64 = pa.Field(ge=0)
    unexplained_usd: Usd = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False


class IntClosedDifference(FeatureKey, CostChange):
    """One row per closed month and key of feature costs whose recomputed sum is not its frozen sum.

    What a closed month would be now, less what it was frozen with.
    """

    month: str

    class Config:
        strict = True
        ordered = False


class IntCorrections(FeatureKey, CostChange):
    """One row per closed month and key of feature costs with a change that no other closed month holds yet.

    Corrections of closed months, posted into the first open month after them.
    """

    month: str
    posting_month: str

    class Config:
        strict = True
        ordered = False


class MartClosedMonths(pa.DataFrameModel):
    """One row per closed month: frozen sums, corrections posted since, and their sum, which is the month recomputed.

    `posting_month` is the open month into which further corrections go.
    """

    month: str
    closed_at: Instant
    posting_month: str
    closed_costs_sha256: str
    closed_total_tokens: pl.Int64
    closed_billed_cost_usd: Usd
    closed_effective_cost_usd: Usd
    correction_total_tokens: pl.Int64
    correction_billed_cost_usd: Usd
    correction_effective_cost_usd: Usd
    recomputed_total_tokens: pl.Int64
    recomputed_billed_cost_usd: Usd
    recomputed_effective_cost_usd: Usd

    class Config:
        strict = True
        ordered = False


class MartRestatements(pa.DataFrameModel):
    """One row per publish, month, feature, provider and cause by which effective cost of published days changed.

    A journal: rows are added at every publish and never changed. `before_snapshot` showed `before_usd`; several causes
    of one change stand in the order of their application, each beginning where the one before ended.
    """

    restated_at: Instant
    before_snapshot: str
    month: str = pa.Field(str_matches=MONTH_PATTERN)
    feature: str
    provider: str
    cause: str = pa.Field(isin=RESTATEMENT_CAUSES)
    before_usd: Usd = pa.Field(nullable=True)
    after_usd: Usd = pa.Field(nullable=True)
    delta_usd: Usd
    is_closed_month: pl.Boolean
    evidence: str

    class Config:
        strict = True
        ordered = False
