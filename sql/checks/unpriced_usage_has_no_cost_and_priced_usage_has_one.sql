/* --- toml
title = "Unpriced usage has no list and no contracted cost, and all other usage has both, self-hosted usage aside"
severity = "fail"
inputs = ["int__usage_priced"]
partition = "month"
--- */
select
    usage_date,
    row_number,
    feature,
    provider,
    model,
    component,
    is_unpriced,
    list_cost_usd,
    contracted_cost_usd
from int__usage_priced
where
    (is_unpriced and (list_cost_usd is not null or contracted_cost_usd is not null))
    or (
        not is_unpriced
        and provider <> 'self_hosted'
        and (list_cost_usd is null or contracted_cost_usd is null)
    )
order by usage_date, row_number, component
