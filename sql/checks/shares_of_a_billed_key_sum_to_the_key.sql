/* --- toml
title = "The shares of every billed token key sum to its billed and its effective cost, to the last pico-dollar"
severity = "fail"
inputs = ["int__billed_keys", "int__allocated_tokens"]
partition = "month"
--- */
with shared as (
    select
        key_id,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from int__allocated_tokens
    group by key_id
)

select
    coalesce(billed.key_id, shared.key_id) as key_id,
    billed.billed_cost_usd,
    shared.billed_cost_usd as shared_billed_cost_usd,
    billed.effective_cost_usd,
    shared.effective_cost_usd as shared_effective_cost_usd
from int__billed_keys as billed
full outer join shared on billed.key_id = shared.key_id
where
    billed.billed_cost_usd is distinct from shared.billed_cost_usd
    or billed.effective_cost_usd is distinct from shared.effective_cost_usd
order by key_id
