/* --- toml
title = "What a deployment costs beside what an API would bill for the same tokens"
grain = "One row per month and deployment"
key = ["month", "deployment"]
inputs = ["int__infrastructure_cost_hourly", "int__api_equivalents", "int__break_even"]
rows_from = ["int__infrastructure_cost_hourly"]
rules = [
    "cost per million tokens is the all-in cost, idle capacity included, over all tokens of the month",
    "at target: the same cost at a utilisation of 70%, an assumption; NULL where no capacity is known",
    "the API's cost is that of the logged tokens at the public price of their day, of the same or a named equivalent model; NULL where one day has no price",
    "the saving is the API's cost less the all-in cost: negative where the API is cheaper",
    "the spread compares deployments on the same GPU type in the same month",
]
owner = "finops"
--- */
with ledger as (
    select
        strftime(usage_date, '%Y-%m') as month,
        deployment,
        max(model) as model,
        max(gpu_type) as gpu_type,
        count(*) as hours,
        count(all_in_cost_usd) as priced_hours,
        sum(all_in_cost_usd) as all_in_cost_usd,
        sum(idle_cost_usd) as idle_cost_usd,
        sum(uncached_tokens + cached_tokens + output_tokens) as logged_tokens,
        sum(unlogged_uncached_tokens + unlogged_cached_tokens + unlogged_output_tokens) as unlogged_tokens,
        sum(cast(gpu_hours as double) * cast(utilisation as double)) / sum(cast(gpu_hours as double)) as utilisation,
        case when min(load_basis) = max(load_basis) then min(load_basis) else 'mixed' end as load_basis
    from int__infrastructure_cost_hourly
    group by strftime(usage_date, '%Y-%m'), deployment
),

offered as (
    select
        deployment,
        max(equivalence) as equivalence,
        max(equivalent_provider) as equivalent_provider,
        max(equivalent_model) as equivalent_model,
        max(quality_ratio) as quality_ratio,
        case when count(api_cost_usd) = count(*) then sum(api_cost_usd) end as api_cost_usd,
        case
            when count(api_cost_at_todays_price_usd) = count(*) then sum(api_cost_at_todays_price_usd)
        end as api_cost_at_todays_price_usd
    from int__api_equivalents
    group by deployment
),

told as (
    select
        ledger.month,
        ledger.deployment,
        ledger.model,
        ledger.gpu_type,
        ledger.logged_tokens,
        ledger.logged_tokens + ledger.unlogged_tokens as tokens,
        case when ledger.priced_hours = ledger.hours then ledger.all_in_cost_usd end as all_in_cost_usd,
        case when ledger.priced_hours = ledger.hours then ledger.idle_cost_usd end as idle_cost_usd,
        least(1, ledger.utilisation) as utilisation,
        ledger.load_basis,
        case
            when ledger.priced_hours = ledger.hours
                then
                    cast(ledger.all_in_cost_usd as double) * 1000000
                    / nullif(ledger.logged_tokens + ledger.unlogged_tokens, 0)
        end as cost_per_mtok_usd
    from ledger
)

select
    told.month,
    told.deployment,
    told.model,
    told.gpu_type,
    offered.equivalence,
    offered.equivalent_provider,
    offered.equivalent_model,
    cast(offered.quality_ratio as decimal(18, 9)) as quality_ratio,
    cast(told.tokens as bigint) as tokens,
    cast(told.logged_tokens as bigint) as logged_tokens,
    cast(told.all_in_cost_usd as decimal(38, 12)) as all_in_cost_usd,
    cast(told.idle_cost_usd as decimal(38, 12)) as idle_cost_usd,
    cast(offered.api_cost_usd as decimal(38, 12)) as api_cost_usd,
    cast(offered.api_cost_at_todays_price_usd as decimal(38, 12)) as api_cost_at_todays_price_usd,
    cast(offered.api_cost_usd - told.all_in_cost_usd as decimal(38, 12)) as saving_usd,
    cast(told.cost_per_mtok_usd as decimal(38, 12)) as cost_per_mtok_usd,
    cast(told.utilisation as decimal(18, 12)) as utilisation,
    told.load_basis,
    cast(0.7 as decimal(18, 12)) as target_utilisation,
    cast(
        case when told.load_basis in ('declared', 'calibrated') then told.cost_per_mtok_usd * told.utilisation / 0.7 end
        as decimal(38, 12)
    ) as cost_per_mtok_at_target_usd,
    cast(
        cast(offered.api_cost_usd as double) * 1000000 / nullif(told.logged_tokens, 0) as decimal(38, 12)
    ) as api_cost_per_mtok_usd,
    as_is.break_even_tokens_per_month,
    as_is.payback_months,
    cast(
        min(told.cost_per_mtok_usd) over (partition by told.month, told.gpu_type) as decimal(38, 12)
    ) as cheapest_on_gpu_type_usd_per_mtok,
    cast(
        told.cost_per_mtok_usd
        / nullif(min(told.cost_per_mtok_usd) over (partition by told.month, told.gpu_type), 0) as decimal(38, 12)
    ) as times_the_cheapest_on_gpu_type
from told
left join offered on told.deployment = offered.deployment
left join int__break_even as as_is
    on told.month = as_is.month and told.deployment = as_is.deployment and as_is.option = 'as_is'
