/* --- toml
title = "What self-hosted machines cost per UTC day, and per million tokens"
grain = "One row per UTC day and deployment"
key = ["usage_date", "deployment"]
inputs = ["int__infrastructure_cost_hourly"]
rows_from = ["int__infrastructure_cost_hourly"]
rules = [
    "hardware, energy, licences, engineering, network and storage are gross and sum to the all-in cost; busy and idle are slices of all five",
    "colocation is part of hardware, cooling (what PUE adds) part of energy",
    "naive cost is hardware alone at full utilisation; the ratio is all-in over naive",
    "tokens are logged ones and what the deployment's own counters hold beyond the log",
    "a basis that changed inside the day is `mixed`; a cost that is unknown for one hour is unknown for the day",
]
owner = "finops"
--- */
with days as (
    select
        usage_date,
        deployment,
        max(model) as model,
        max(gpu_type) as gpu_type,
        max(purchase_type) as purchase_type,
        sum(gpu_hours) as gpu_hours,
        sum(hardware_cost_usd) as hardware_cost_usd,
        sum(colo_cost_usd) as colo_cost_usd,
        sum(energy_cost_usd) as energy_cost_usd,
        sum(cooling_cost_usd) as cooling_cost_usd,
        sum(licences_cost_usd) as licences_cost_usd,
        sum(engineering_cost_usd) as engineering_cost_usd,
        sum(network_storage_cost_usd) as network_storage_cost_usd,
        sum(all_in_cost_usd) as all_in_cost_usd,
        sum(busy_cost_usd) as busy_cost_usd,
        sum(idle_cost_usd) as idle_cost_usd,
        sum(naive_cost_usd) as naive_cost_usd,
        sum(energy_kwh) as energy_kwh,
        sum(cast(gpu_hours as double) * cast(utilisation as double)) as busy_gpu_hours,
        sum(uncached_tokens + cached_tokens + output_tokens) as logged_tokens,
        sum(unlogged_uncached_tokens + unlogged_cached_tokens + unlogged_output_tokens) as unlogged_tokens,
        sum(output_tokens + unlogged_output_tokens) as output_tokens,
        count(*) as hours,
        count(all_in_cost_usd) as priced_hours,
        count(energy_kwh) as metered_hours,
        case when min(hardware_basis) = max(hardware_basis) then min(hardware_basis) else 'mixed' end as hardware_basis,
        case when min(power_basis) = max(power_basis) then min(power_basis) else 'mixed' end as power_basis,
        case when min(load_basis) = max(load_basis) then min(load_basis) else 'mixed' end as load_basis,
        case when min(weights_basis) = max(weights_basis) then min(weights_basis) else 'mixed' end as weights_basis
    from int__infrastructure_cost_hourly
    group by usage_date, deployment
)

select
    usage_date,
    deployment,
    model,
    gpu_type,
    purchase_type,
    cast(gpu_hours as decimal(38, 9)) as gpu_hours,
    cast(case when priced_hours = hours then hardware_cost_usd end as decimal(38, 12)) as hardware_cost_usd,
    cast(colo_cost_usd as decimal(38, 12)) as colo_cost_usd,
    cast(energy_cost_usd as decimal(38, 12)) as energy_cost_usd,
    cast(cooling_cost_usd as decimal(38, 12)) as cooling_cost_usd,
    cast(licences_cost_usd as decimal(38, 12)) as licences_cost_usd,
    cast(engineering_cost_usd as decimal(38, 12)) as engineering_cost_usd,
    cast(network_storage_cost_usd as decimal(38, 12)) as network_storage_cost_usd,
    cast(case when priced_hours = hours then all_in_cost_usd end as decimal(38, 12)) as all_in_cost_usd,
    cast(case when priced_hours = hours then busy_cost_usd end as decimal(38, 12)) as busy_cost_usd,
    cast(case when priced_hours = hours then idle_cost_usd end as decimal(38, 12)) as idle_cost_usd,
    cast(case when priced_hours = hours then naive_cost_usd end as decimal(38, 12)) as naive_cost_usd,
    cast(least(1, busy_gpu_hours / cast(gpu_hours as double)) as decimal(18, 12)) as utilisation,
    cast(case when metered_hours = hours then energy_kwh end as decimal(38, 9)) as energy_kwh,
    cast(logged_tokens as bigint) as logged_tokens,
    cast(unlogged_tokens as bigint) as unlogged_tokens,
    cast(logged_tokens + unlogged_tokens as bigint) as tokens,
    cast(
        case when priced_hours = hours then cast(naive_cost_usd as double) end
        * 1000000 / nullif(logged_tokens + unlogged_tokens, 0) as decimal(38, 12)
    ) as naive_cost_per_mtok_usd,
    cast(
        case when priced_hours = hours then cast(all_in_cost_usd as double) end
        * 1000000 / nullif(logged_tokens + unlogged_tokens, 0) as decimal(38, 12)
    ) as all_in_cost_per_mtok_usd,
    cast(
        case when priced_hours = hours then cast(all_in_cost_usd as double) end
        * 1000000 / nullif(output_tokens, 0) as decimal(38, 12)
    ) as all_in_cost_per_mtok_output_usd,
    cast(
        case when priced_hours = hours then cast(all_in_cost_usd as double) end
        / nullif(cast(naive_cost_usd as double), 0) as decimal(18, 12)
    ) as ratio,
    hardware_basis,
    power_basis,
    load_basis,
    weights_basis
from days
