/* --- toml
title = "Per provider and UTC day, billed cost of all features, unattributed and unlogged included, is the sum of the bill lines"
severity = "fail"
inputs = ["int__bill_lines", "int__feature_cost_daily"]
partition = "month"
--- */
with billed as (
    select
        usage_date,
        provider,
        sum(billed_cost_usd) as billed_cost_usd
    from int__bill_lines
    group by usage_date, provider
),

allocated as (
    select
        usage_date,
        provider,
        sum(billed_cost_usd) as billed_cost_usd
    from int__feature_cost_daily
    group by usage_date, provider
)

select
    coalesce(billed.usage_date, allocated.usage_date) as usage_date,
    coalesce(billed.provider, allocated.provider) as provider,
    billed.billed_cost_usd as bill_lines_usd,
    allocated.billed_cost_usd as allocated_usd
from billed
full outer join allocated
    on billed.usage_date = allocated.usage_date and billed.provider = allocated.provider
where coalesce(billed.billed_cost_usd, 0) <> coalesce(allocated.billed_cost_usd, 0)
order by usage_date, provider
