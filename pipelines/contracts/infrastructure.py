"""Contracts of self-hosted machines: telemetry as it was read, by hour, and the ledger of deployment hours built on it.

What lives here: core__infrastructure_samples, core__infrastructure and the int__ tables of the ledger. What does not:
the reference tables behind it (reference.py), its marts (infrastructure_marts.py).
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Instant, Provenance, Quantity, Usd

Fraction = Annotated[pl.Decimal, 18, 12]
Work = Annotated[pl.Decimal, 38, 9]
HourlyRate = Annotated[pl.Decimal, 38, 18]
Weight = Annotated[pl.Decimal, 18, 9]

MEASURE_UNITS: dict[str, str] = {
    "input_tokens": "tokens",
    "cached_tokens": "tokens",
    "prefix_cache_hit_tokens": "tokens",
    "output_tokens": "tokens",
    "gpu_energy_joules": "J",
    "gpu_power_joules": "J",
    "waiting_request_seconds": "request-seconds",
    "opencost_hardware_usd": "USD",
    "opencost_network_storage_usd": "USD",
}
"""What a deployment's telemetry can measure. `input_tokens` includes the cached ones, as the engines count them.

`gpu_energy_joules` is from energy counters; `gpu_power_joules` is power over time, of GPUs whose counter said nothing.
"""

HARDWARE_BASES = ("rented", "straight_line", "annuity", "owned_per_hour", "opencost", "unknown")
POWER_BASES = (
    "counter", "power_gauge", "counter_and_gauge", "counter_and_model", "gauge_and_model", "counter_gauge_and_model",
    "modelled", "modelled_at_full_load", "included_in_rent", "included_in_colo", "no_tariff", "none",
)  # fmt: skip
LOAD_BASES = ("declared", "calibrated", "none")
WEIGHT_BASES = ("declared", "calibrated", "assumption")


class CoreInfrastructureSamples(Provenance):
    """One row per sample of a series, or per window of a cost allocation, of one landed file; kept per file, not by
    day.

    Two files may tell the same sample: core__infrastructure counts it once. `series` is a digest of the labels that
    tell one counter from another (a GPU's UUID; an engine's labels), never the labels. `measured_quantity` is the
    counter or gauge as it stood (tokens, mJ, W, requests), or the dollars of the window [`sampled_at`, `valid_until`).
    Samples further apart than `longest_gap_seconds` have a gap between them. `is_partial` says that the query warned of
    missing data.
    """

    usage_date: pl.Date
    sampled_at: Instant
    valid_until: Instant = pa.Field(nullable=True)
    deployment: str = pa.Field(str_length={"min_value": 1, "max_value": 256})
    measure: str = pa.Field(isin=tuple(MEASURE_UNITS))
    series: str
    measured_quantity: Usd = pa.Field(ge=0)
    longest_gap_seconds: pl.Int64 = pa.Field(gt=0)
    is_partial: pl.Boolean

    class Config:
        strict = True
        ordered = False


class CoreInfrastructure(pa.DataFrameModel):
    """One row per deployment, UTC hour and measure of its telemetry. Never add measures to each other.

    `measured_quantity` is in `unit`; counters are reset-aware differences, each counted in the hour in which it begins,
    gauges are held over time. `covered_seconds` is the time of all `series_count` series (GPUs, engines) that samples
    cover: a gap of more than five minutes is covered by nothing. `landed_file` is one of the files that told it.
    """

    usage_date: pl.Date
    deployment: str
    hour_start: Instant
    measure: str = pa.Field(isin=tuple(MEASURE_UNITS))
    unit: str
    measured_quantity: Usd = pa.Field(ge=0)
    covered_seconds: Quantity = pa.Field(ge=0)
    series_count: pl.Int64 = pa.Field(ge=1)
    is_partial: pl.Boolean
    source: str
    landed_file: str

    class Config:
        strict = True
        ordered = False


class IntInfrastructureHours(pa.DataFrameModel):
    """One row per deployment, UTC hour and stretch of it in which no rate changes.

    What runs in every hour of the month and what an hour of it costs, from dated reference tables alone. `seconds` is
    the length of the stretch; rates are dollars per GPU-hour of it. Hours after the last complete UTC day are not here
    yet.
    """

    usage_date: pl.Date
    deployment: str
    hour_start: Instant
    stretch_start: Instant
    seconds: pl.Int64 = pa.Field(gt=0, le=3600)
    model: str
    gpu_type: str
    gpu_count: pl.Int64 = pa.Field(gt=0)
    purchase_type: str
    capacity_units_per_gpu_hour: Weight = pa.Field(nullable=True)
    w_input: Weight = pa.Field(nullable=True)
    w_cached: Weight = pa.Field(nullable=True)
    w_output: Weight = pa.Field(nullable=True)
    idle_policy: str
    hardware_basis: str = pa.Field(isin=HARDWARE_BASES)
    hardware_usd_per_gpu_hour: HourlyRate = pa.Field(nullable=True)
    colo_usd_per_gpu_hour: HourlyRate = pa.Field(ge=0)
    licences_usd_per_gpu_hour: HourlyRate = pa.Field(ge=0)
    engineering_usd_per_gpu_hour: HourlyRate = pa.Field(ge=0)
    network_storage_usd_per_gpu_hour: HourlyRate = pa.Field(ge=0)
    pays_power: pl.Boolean
    power_excuse: str = pa.Field(isin=POWER_BASES, nullable=True)
    idle_w: Weight = pa.Field(nullable=True)
    max_w: Weight = pa.Field(nullable=True)
    host_w_per_gpu: Weight
    usd_per_kwh: Usd = pa.Field(nullable=True)
    pue: Weight

    class Config:
        strict = True
        ordered = False


class IntSelfHostedUsage(pa.DataFrameModel):
    """One row per deployment, UTC hour, owner, model and service tier: logged tokens of self-hosted models.

    All attempts are included, failed ones too. Input that is not read from a cache is uncached, cache writes with it.
    """

    usage_date: pl.Date
    hour_start: Instant
    deployment: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    model: str
    service_tier: str
    requests: pl.Int64 = pa.Field(ge=0)
    uncached_tokens: pl.Int64 = pa.Field(ge=0)
    cached_tokens: pl.Int64 = pa.Field(ge=0)
    output_tokens: pl.Int64 = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False


class IntInfrastructureCostHourly(pa.DataFrameModel):
    """One row per deployment and UTC hour: the ledger. Sum freely.

    The five gross components sum to `all_in_cost_usd`; so do `busy_cost_usd` and `idle_cost_usd`, which are slices of
    all five. `colo_cost_usd` is part of hardware, `cooling_cost_usd` (what PUE adds) part of energy. `naive_cost_usd`
    is hardware alone at full utilisation. Costs are NULL where no rate is in force. Bases say how each number was come
    by. Unlogged tokens are what the deployment's own counters hold beyond the log.
    """

    usage_date: pl.Date
    deployment: str
    hour_start: Instant
    model: str
    gpu_type: str
    purchase_type: str
    idle_policy: str
    gpu_hours: Quantity = pa.Field(gt=0)
    hardware_cost_usd: Usd = pa.Field(nullable=True)
    colo_cost_usd: Usd
    energy_cost_usd: Usd
    cooling_cost_usd: Usd
    licences_cost_usd: Usd
    engineering_cost_usd: Usd
    network_storage_cost_usd: Usd
    all_in_cost_usd: Usd = pa.Field(nullable=True)
    busy_cost_usd: Usd = pa.Field(nullable=True)
    idle_cost_usd: Usd = pa.Field(nullable=True)
    naive_cost_usd: Usd = pa.Field(nullable=True)
    utilisation: Fraction = pa.Field(ge=0, le=1)
    energy_kwh: Quantity = pa.Field(ge=0, nullable=True)
    work_units: Work = pa.Field(ge=0)
    capacity_units: Work = pa.Field(gt=0, nullable=True)
    w_input: Weight
    w_cached: Weight
    w_output: Weight
    uncached_tokens: pl.Int64 = pa.Field(ge=0)
    cached_tokens: pl.Int64 = pa.Field(ge=0)
    output_tokens: pl.Int64 = pa.Field(ge=0)
    unlogged_uncached_tokens: pl.Int64 = pa.Field(ge=0)
    unlogged_cached_tokens: pl.Int64 = pa.Field(ge=0)
    unlogged_output_tokens: pl.Int64 = pa.Field(ge=0)
    hardware_basis: str = pa.Field(isin=HARDWARE_BASES)
    power_basis: str = pa.Field(isin=POWER_BASES)
    load_basis: str = pa.Field(isin=LOAD_BASES)
    weights_basis: str = pa.Field(isin=WEIGHT_BASES)

    class Config:
        strict = True
        ordered = False


class IntInfrastructureShares(pa.DataFrameModel):
    """One row per UTC day, deployment, owner, model and service tier, `__idle__` and `__unlogged__` included.

    Per deployment and day `usage_cost_usd` sums to the ledger exactly, and so does `fully_loaded_cost_usd`, which
    shares idle capacity in proportion. The two sensitivity columns are usage cost with the output weight halved and
    doubled.
    """

    usage_date: pl.Date
    deployment: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    model: str
    service_tier: str
    busy_cost_usd: Usd
    usage_cost_usd: Usd
    fully_loaded_cost_usd: Usd
    usage_cost_output_weight_half_usd: Usd
    usage_cost_output_weight_double_usd: Usd

    class Config:
        strict = True
        ordered = False


class IntApiEquivalents(pa.DataFrameModel):
    """One row per deployment and UTC day with traffic: the same tokens at an API's public price.

    `equivalence` is `named` (model_equivalents.csv) or `same_model`; NULL costs where no public price is known.
    """

    usage_date: pl.Date
    deployment: str
    equivalence: str = pa.Field(isin=("named", "same_model"), nullable=True)
    equivalent_provider: str = pa.Field(nullable=True)
    equivalent_model: str = pa.Field(nullable=True)
    quality_ratio: Weight = pa.Field(nullable=True)
    api_cost_usd: Usd = pa.Field(nullable=True)
    api_cost_at_todays_price_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class IntBreakEven(pa.DataFrameModel):
    """One row per month, deployment and option. Volumes are tokens a month of the deployment's own mix.

    `option` is `as_is` (what runs now, whatever the volume), `stepped` (machines follow the volume) or `buy:…`,
    `rent:…` for the same GPUs by another way of paying. NULL break-even: no volume pays.
    """

    month: str
    deployment: str
    option: str
    fixed_usd_per_month: Usd = pa.Field(nullable=True)
    variable_usd_per_mtok: Usd = pa.Field(nullable=True)
    api_usd_per_mtok: Usd = pa.Field(nullable=True)
    break_even_tokens_per_month: pl.Int64 = pa.Field(ge=0, nullable=True)
    crossings: pl.Int64 = pa.Field(ge=0)
    dearer_again_tokens_per_month: pl.Int64 = pa.Field(ge=0, nullable=True)
    capacity_tokens_per_month: pl.Int64 = pa.Field(ge=0, nullable=True)
    tokens_per_month: pl.Int64 = pa.Field(ge=0)
    purchase_usd: Usd = pa.Field(nullable=True)
    payback_months: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False
