"""Contracts of the marts on self-hosting.

What lives here: one class per mart__ table about machines. What does not: other marts (marts.py), how a mart is
computed (sql/marts), the ledger behind them (infrastructure.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Quantity, Usd
from pipelines.contracts.infrastructure import Fraction, Weight


class MartInfrastructureCostDaily(pa.DataFrameModel):
    """One row per UTC day and deployment.

    What self-hosted machines cost per UTC day, in five gross components, and per million tokens. `idle_cost_usd` is a
    slice of all five; `naive_cost_usd` is hardware alone at full utilisation, and `ratio` how many times of it the
    all-in cost is.
    """

    usage_date: pl.Date
    deployment: str
    model: str
    gpu_type: str
    purchase_type: str
    gpu_hours: Quantity
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
    energy_kwh: Quantity = pa.Field(nullable=True)
    logged_tokens: pl.Int64 = pa.Field(ge=0)
    unlogged_tokens: pl.Int64 = pa.Field(ge=0)
    tokens: pl.Int64 = pa.Field(ge=0)
    naive_cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    all_in_cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    all_in_cost_per_mtok_output_usd: Usd = pa.Field(nullable=True)
    ratio: Fraction = pa.Field(nullable=True)
    hardware_basis: str
    power_basis: str
    load_basis: str
    weights_basis: str

    class Config:
        strict = True
        ordered = False


class MartSelfHostedFeatureCostDaily(pa.DataFrameModel):
    """One row per UTC day, deployment, feature, team, cost center, model and service tier.

    What features cost on self-hosted machines, on both bases: usage (idle capacity by the deployment's policy,
    `__idle__` by default) and fully loaded (idle capacity on those who were served). Compare an API with the fully
    loaded one. The columns with another output weight show how far the split hangs on the weights; never add the bases.
    """

    usage_date: pl.Date
    deployment: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    model: str
    service_tier: str
    requests: pl.Int64 = pa.Field(ge=0)
    input_tokens: pl.Int64 = pa.Field(ge=0)
    cached_input_tokens: pl.Int64 = pa.Field(ge=0)
    output_tokens: pl.Int64 = pa.Field(ge=0)
    total_tokens: pl.Int64 = pa.Field(ge=0)
    busy_cost_usd: Usd
    usage_cost_usd: Usd
    fully_loaded_cost_usd: Usd
    usage_cost_output_weight_half_usd: Usd
    usage_cost_output_weight_double_usd: Usd
    usage_cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    fully_loaded_cost_per_mtok_usd: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class MartSelfHostedVsApi(pa.DataFrameModel):
    """One row per month and deployment.

    What a deployment costs now and at target utilisation, what an API would bill for the same tokens, and how far
    deployments on the same GPU type lie apart. Tokens of the comparison are the logged ones.
    """

    month: str
    deployment: str
    model: str
    gpu_type: str
    equivalence: str = pa.Field(nullable=True)
    equivalent_provider: str = pa.Field(nullable=True)
    equivalent_model: str = pa.Field(nullable=True)
    quality_ratio: Weight = pa.Field(nullable=True)
    tokens: pl.Int64 = pa.Field(ge=0)
    logged_tokens: pl.Int64 = pa.Field(ge=0)
    all_in_cost_usd: Usd = pa.Field(nullable=True)
    idle_cost_usd: Usd = pa.Field(nullable=True)
    api_cost_usd: Usd = pa.Field(nullable=True)
    api_cost_at_todays_price_usd: Usd = pa.Field(nullable=True)
    saving_usd: Usd = pa.Field(nullable=True)
    cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    utilisation: Fraction = pa.Field(ge=0, le=1)
    load_basis: str
    target_utilisation: Fraction
    cost_per_mtok_at_target_usd: Usd = pa.Field(nullable=True)
    api_cost_per_mtok_usd: Usd = pa.Field(nullable=True)
    break_even_tokens_per_month: pl.Int64 = pa.Field(nullable=True)
    payback_months: Usd = pa.Field(nullable=True)
    cheapest_on_gpu_type_usd_per_mtok: Usd = pa.Field(nullable=True)
    times_the_cheapest_on_gpu_type: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class MartBreakEven(pa.DataFrameModel):
    """One row per month, deployment and option.

    From which volume each way of running a deployment is cheaper than the API, and when a purchase is paid back.
    Volumes are tokens a month of the deployment's own mix; `as_is` may lie beyond what the machines can do, `stepped`
    adds machines.
    """

    month: str
    deployment: str
    option: str
    fixed_usd_per_month: Usd = pa.Field(nullable=True)
    variable_usd_per_mtok: Usd = pa.Field(nullable=True)
    api_usd_per_mtok: Usd = pa.Field(nullable=True)
    break_even_tokens_per_month: pl.Int64 = pa.Field(nullable=True)
    crossings: pl.Int64 = pa.Field(ge=0)
    dearer_again_tokens_per_month: pl.Int64 = pa.Field(nullable=True)
    tokens_per_month: pl.Int64 = pa.Field(ge=0)
    capacity_tokens_per_month: pl.Int64 = pa.Field(nullable=True)
    is_within_capacity: pl.Boolean = pa.Field(nullable=True)
    is_past_break_even: pl.Boolean = pa.Field(nullable=True)
    purchase_usd: Usd = pa.Field(nullable=True)
    payback_months: Usd = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False
