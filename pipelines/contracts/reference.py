"""Contracts of the reference tables: what people and price feeds maintain by hand or by review.

What lives here: one class per CSV table of data/reference and <home>/reference, and the price columns they share.
What does not: reading the files (transforms/reference_tables.py), choosing a price (transforms/price_segments.py).
Dated rows are half-open [valid_from, valid_to) in UTC; NULL in valid_from or valid_to means open on that side.
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import PROVIDER_PATTERN, TIER_PATTERN, Instant, Usd

Price = Annotated[pl.Decimal, 38, 18]
Share = Annotated[pl.Decimal, 18, 9]
FxRate = Annotated[pl.Decimal, 28, 12]

ANY = "*"
"""In a reference table: any provider, account, model, region, deployment or site. Absent text means the same."""

ANY_PROVIDER_PATTERN = r"^(\*|[a-z][a-z0-9_]{0,63})$"
ANY_TIER_PATTERN = r"^(\*|[a-z][a-z0-9_]{0,31})$"
PRICE_BASES = ("documented", "recorded", "first_observed", "backcast")
PRICE_LAYERS = ("curated", "feed")
ATTRIBUTION_FIELDS = ("feature_tag", "api_key_id", "account", "model", "source", "session_id", "user_group")


class Dated(pa.DataFrameModel):
    """Validity of a row: half-open, UTC, NULL = open."""

    valid_from: Instant = pa.Field(nullable=True)
    valid_to: Instant = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class RefSources(pa.DataFrameModel):
    """One row per source, provider and account (`*` = any): what it witnesses. The lower `precedence` counts first."""

    source: str
    provider: str = pa.Field(str_matches=ANY_PROVIDER_PATTERN)
    account: str
    role: str = pa.Field(isin=("log", "provider_usage", "bill", "control"))
    precedence: pl.Int64 = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False


class RefFeatures(Dated):
    """One row per attribution rule. The lowest `priority` number that matches wins.

    `field` is one of ATTRIBUTION_FIELDS or `tag:<key>`; `pattern` is a case-sensitive glob (`*`, `?`, `[a-z]`) over the
    whole value and `pattern_regex` the same as an anchored RE2 expression.
    """

    priority: pl.Int64
    field: str = pa.Field(str_matches=r"^(feature_tag|api_key_id|account|model|source|session_id|user_group|tag:.+)$")
    pattern: str = pa.Field(str_length={"min_value": 1})
    pattern_regex: str
    feature: str = pa.Field(str_length={"min_value": 1})
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)


class RefModelPrices(pa.DataFrameModel):
    """One row per public price and interval: append-only, corrections supersede. Do not average: rows are alternatives.

    A row says that `provider` bills `price_usd` per `per_units` of `unit` of `component` (a token leaf or a meter) for
    `model` (`*` = any of the provider) in `region` (`*` = any) at `service_tier`, for requests whose whole prompt is
    more than `prompt_tokens_gt` and at most `prompt_tokens_le` tokens (an inclusive "from N" is written as N − 1),
    inside the windows of `schedule` where one is named. `recorded_at`/`superseded_at` say when it was believed.
    """

    price_id: str = pa.Field(str_length={"min_value": 1, "max_value": 200})
    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    model: str = pa.Field(str_length={"min_value": 1, "max_value": 256})
    region: str = pa.Field(str_length={"min_value": 1, "max_value": 64})
    service_tier: str = pa.Field(str_matches=TIER_PATTERN)
    component: str
    prompt_tokens_gt: pl.Int64 = pa.Field(ge=0)
    prompt_tokens_le: pl.Int64 = pa.Field(gt=0, nullable=True)
    tier_scope: str = pa.Field(isin=("request", "marginal"))
    schedule: str = pa.Field(nullable=True)
    price_usd: Price = pa.Field(ge=0)
    per_units: pl.Int64 = pa.Field(gt=0)
    unit: str
    valid_from: Instant
    valid_to: Instant = pa.Field(nullable=True)
    valid_from_basis: str = pa.Field(isin=PRICE_BASES)
    recorded_at: Instant
    superseded_at: Instant = pa.Field(nullable=True)
    change_kind: str = pa.Field(nullable=True)
    layer: str = pa.Field(isin=PRICE_LAYERS)
    source: str = pa.Field(str_length={"min_value": 1})

    class Config:
        strict = True
        ordered = False


class PriceBook(RefModelPrices):
    """One row per price in force for somebody, of every public layer, as known at one instant. See RefModelPrices.

    `layer_rank` orders the layers, lowest first: home curated 0, shipped curated 1, home feed 2, shipped feed 3.
    `unit_price_usd` is price_usd ÷ per_units, exact.
    """

    layer_rank: pl.Int32
    unit_price_usd: Price = pa.Field(ge=0)


class RefModelAliases(Dated):
    """One row per name and interval: `alias` meant `model` at that time. Dated, because providers re-point names."""

    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    alias: str = pa.Field(str_length={"min_value": 1})
    model: str = pa.Field(str_length={"min_value": 1})
    source: str


class RefPriceSchedules(Dated):
    """One row per daily UTC window of a schedule. `end_time` before `start_time` wraps past midnight.

    A window belongs to the UTC day on which it starts: `weekdays` (`12345` = Monday to Friday, NULL = all),
    `exclude_dates` (holidays) and `include_dates` (working weekends; they outrank the other two) speak of that day.
    Dates are split by blanks.
    """

    schedule: str = pa.Field(str_length={"min_value": 1})
    timezone: str = pa.Field(str_matches=r"^UTC$")
    start_time: str = pa.Field(str_matches=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")
    end_time: str = pa.Field(str_matches=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")
    weekdays: str = pa.Field(str_matches=r"^[1-7]+$", nullable=True)
    exclude_dates: str = pa.Field(str_matches=r"^\d{4}-\d{2}-\d{2}( \d{4}-\d{2}-\d{2})*$", nullable=True)
    include_dates: str = pa.Field(str_matches=r"^\d{4}-\d{2}-\d{2}( \d{4}-\d{2}-\d{2})*$", nullable=True)
    source: str


class RefComponentEquivalents(pa.DataFrameModel):
    """One row per component that is billed like another one where the book has no price of its own for it.

    The default cache-write lifetime of a provider, image tokens that bill as text. The lowest `preference` with a price
    in force counts; a price row of the component itself always comes first.
    """

    provider: str = pa.Field(str_matches=ANY_PROVIDER_PATTERN)
    model_pattern: str
    component: str
    priced_as: str
    preference: pl.Int64 = pa.Field(ge=1)
    source: str
    model_regex: str

    class Config:
        strict = True
        ordered = False


class RefContractPrices(Dated):
    """One row per negotiated price: either `discount_percent` off list, or `price_usd` per `per_units`, never both.

    A stated price holds without a public one too; list cost is unknown then. A percentage off prices nothing by itself.
    """

    contract_id: str = pa.Field(str_length={"min_value": 1})
    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    account: str
    model_pattern: str
    service_tier: str = pa.Field(str_matches=ANY_TIER_PATTERN)
    component: str
    discount_percent: Share = pa.Field(ge=-100, le=100, nullable=True)
    price_usd: Price = pa.Field(ge=0, nullable=True)
    per_units: pl.Int64 = pa.Field(gt=0, nullable=True)
    model_regex: str


class RefCommitments(Dated):
    """One row per commitment. `cost_usd` is owed per `period`, used or not."""

    commitment_id: str = pa.Field(str_length={"min_value": 1})
    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    account: str
    model_pattern: str
    kind: str = pa.Field(isin=("ptu", "reservation", "prepaid", "seats"))
    cost_usd: Usd = pa.Field(ge=0)
    period: str = pa.Field(isin=("hour", "month", "once"))
    capacity_tokens: pl.Int64 = pa.Field(ge=0, nullable=True)
    model_regex: str


class RefSharedCosts(Dated):
    """One row per rule for non-token and shared bill lines; the lowest `priority` that matches wins.

    `match` is a glob over the line's service name, SKU and description; `weights` is `feature=weight` pairs, split by
    `;`.
    """

    priority: pl.Int64
    provider: str = pa.Field(str_matches=ANY_PROVIDER_PATTERN)
    account: str
    match: str
    method: str = pa.Field(isin=("token_cost", "meter", "even", "weights", "keep"))
    weights: str = pa.Field(str_matches=r"^[^=;]+=\d+(\.\d+)?(;[^=;]+=\d+(\.\d+)?)*$", nullable=True)
    match_regex: str


class RefFxRates(pa.DataFrameModel):
    """One row per day and currency: dollars for one unit of it."""

    rate_date: pl.Date
    currency: str = pa.Field(str_matches=r"^[A-Z]{3}$")
    usd_per_unit: FxRate = pa.Field(gt=0)
    source: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class RefInvoices(pa.DataFrameModel):
    """One row per invoice: its total in its own currency."""

    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    account: str
    period: str = pa.Field(str_matches=r"^\d{4}-(0[1-9]|1[0-2])$")
    invoice_id: str = pa.Field(str_length={"min_value": 1})
    total: Usd
    currency: str = pa.Field(str_matches=r"^[A-Z]{3}$")
    issued_on: pl.Date = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class RefDeployments(Dated):
    """One row per self-hosted deployment and interval: what runs where, on how many GPUs, bought how.

    `bill_match` is a glob over service, SKU, resource and description of a bill line, split by blanks: such lines are
    the rent
    of these machines, which the ledger counts, so they leave the bill match. With a `provider` other than self_hosted
    only that provider's lines do.
    """

    deployment: str = pa.Field(str_length={"min_value": 1})
    provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    model: str
    site: str = pa.Field(nullable=True)
    bill_match: str = pa.Field(nullable=True)
    gpu_type: str
    gpu_count: pl.Int64 = pa.Field(gt=0)
    purchase_type: str = pa.Field(isin=("owned", "reserved", "on_demand", "spot"))
    capacity_units_per_gpu_hour: Share = pa.Field(gt=0, nullable=True)
    w_input: Share = pa.Field(ge=0, nullable=True)
    w_cached: Share = pa.Field(ge=0, nullable=True)
    w_output: Share = pa.Field(ge=0, nullable=True)
    idle_policy: str = pa.Field(isin=("own_row", "proportional", "even", "reserved"), nullable=True)
    bill_match_regex: str = pa.Field(nullable=True)


class RefGpuRates(Dated):
    """One row per GPU type, purchase type and interval. Rent per GPU-hour, or the facts that amortise an owned GPU."""

    gpu_type: str = pa.Field(str_length={"min_value": 1})
    purchase_type: str = pa.Field(isin=("owned", "reserved", "on_demand", "spot"))
    usd_per_gpu_hour: Usd = pa.Field(ge=0, nullable=True)
    purchase_price_usd: Usd = pa.Field(ge=0, nullable=True)
    salvage_usd: Usd = pa.Field(ge=0, nullable=True)
    useful_life_years: Share = pa.Field(gt=0, nullable=True)
    cost_of_capital: Share = pa.Field(ge=0, nullable=True)
    idle_w: Share = pa.Field(ge=0, nullable=True)
    max_w: Share = pa.Field(gt=0, nullable=True)
    host_w_per_gpu: Share = pa.Field(ge=0, nullable=True)
    source: str


class RefOverheads(Dated):
    """One row per deployment (`*` = all), cost component, method and interval; rows add up.

    `unit` names what `value` is counted in: `usd_per_gpu_hour`, `usd_per_gpu_month`, or `usd_per_month`,
    `usd_per_year`,
    which are spread over the GPU-hours that deployments.csv plans. Engineering may also be people times their loaded
    year: a row of method `fte` (unit `fte`) and one of method `loaded_annual` (unit `usd_per_year`).
    """

    deployment: str
    component: str = pa.Field(isin=("licences", "engineering", "network_storage"))
    method: str
    value: Usd = pa.Field(ge=0)
    unit: str


class RefEnergy(Dated):
    """One row per site (`*` = any) and interval: tariff, PUE and colocation."""

    site: str
    usd_per_kwh: Usd = pa.Field(ge=0, nullable=True)
    pue: Share = pa.Field(ge=1, nullable=True)
    colo_usd_per_kw_month: Usd = pa.Field(ge=0, nullable=True)
    colo_includes_power: pl.Boolean = pa.Field(nullable=True)


class RefModelEquivalents(pa.DataFrameModel):
    """One row per self-hosted model: the API model that stands in for it; `quality_ratio` 1 = equally good."""

    model: str
    equivalent_provider: str = pa.Field(str_matches=PROVIDER_PATTERN)
    equivalent_model: str
    quality_ratio: Share = pa.Field(gt=0, nullable=True)
    note: str = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class RefBudgets(Dated):
    """One row per budget and interval; `amount` is per `period` in `unit`."""

    budget: str = pa.Field(str_length={"min_value": 1})
    scope: str = pa.Field(isin=("feature", "team", "cohort", "model", "total"))
    scope_value: str = pa.Field(nullable=True)
    unit: str = pa.Field(isin=("tokens", "usd"))
    period: str = pa.Field(isin=("day", "week", "month", "quarter"))
    amount: Usd = pa.Field(gt=0)
    owner: str = pa.Field(nullable=True)


class RefCohorts(Dated):
    """One row per user group and interval: the cohort it belongs to."""

    user_group: str = pa.Field(str_length={"min_value": 1})
    cohort: str = pa.Field(str_length={"min_value": 1})
