/* --- toml
title = "Per deployment and UTC day, both bases of shares, idle and unlogged included, sum to the ledger exactly"
severity = "fail"
inputs = ["int__infrastructure_cost_hourly", "int__infrastructure_shares"]
partition = "month"
--- */
with ledger as (
    select
        usage_date,
        deployment,
        sum(all_in_cost_usd) as all_in_cost_usd
    from int__infrastructure_cost_hourly
    where all_in_cost_usd is not null
    group by usage_date, deployment
),

shared as (
    select
        usage_date,
        deployment,
        sum(usage_cost_usd) as usage_cost_usd,
        sum(fully_loaded_cost_usd) as fully_loaded_cost_usd
    from int__infrastructure_shares
    group by usage_date, deployment
)

select
    coalesce(ledger.usage_date, shared.usage_date) as usage_date,
    coalesce(ledger.deployment, shared.deployment) as deployment,
    ledger.all_in_cost_usd,
    shared.usage_cost_usd,
    shared.fully_loaded_cost_usd
from ledger
full outer join shared
    on ledger.usage_date = shared.usage_date and ledger.deployment = shared.deployment
where
    coalesce(ledger.all_in_cost_usd, 0) <> coalesce(shared.usage_cost_usd, 0)
    or coalesce(ledger.all_in_cost_usd, 0) <> coalesce(shared.fully_loaded_cost_usd, 0)
order by usage_date, deployment
