/* --- toml
title = "The shares of every pool of credits, fees, taxes and purchases sum to its billed and its effective cost"
severity = "fail"
inputs = ["int__shared_claims", "int__allocated_shared"]
partition = "month"
--- */
with pools as (
    select
        key_id,
        min(billed_cost_usd) as billed_cost_usd,
        min(effective_cost_usd) as effective_cost_usd
    from int__shared_claims
    group by key_id
),

shared as (
    select
        key_id,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from int__allocated_shared
    group by key_id
)

select
    coalesce(pools.key_id, shared.key_id) as key_id,
    pools.billed_cost_usd,
    shared.billed_cost_usd as shared_billed_cost_usd,
    pools.effective_cost_usd,
    shared.effective_cost_usd as shared_effective_cost_usd
from pools
full outer join shared on pools.key_id = shared.key_id
where
    pools.billed_cost_usd is distinct from shared.billed_cost_usd
    or pools.effective_cost_usd is distinct from shared.effective_cost_usd
order by key_id
