/* --- toml
title = "At most 20% of a month's effective cost, and of its tokens, belongs to no feature"
severity = "warn"
inputs = ["mart__feature_cost_monthly"]
partition = "month"
--- */
with months as (
    select
        month,
        sum(total_tokens) as total_tokens,
        sum(case when feature = '__unattributed__' then total_tokens else 0 end) as unattributed_tokens,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(case when feature = '__unattributed__' then effective_cost_usd end) as unattributed_cost_usd
    from mart__feature_cost_monthly
    group by month
)

select
    month,
    total_tokens,
    unattributed_tokens,
    effective_cost_usd,
    unattributed_cost_usd
from months
where
    unattributed_tokens * 5 > total_tokens
    or unattributed_cost_usd * 5 > effective_cost_usd
order by month
