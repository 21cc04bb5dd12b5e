/* --- toml
title = "Unpriced usage has no list and no contracted cost; all other usage has both, or a contract alone prices a part of it, self-hosted usage aside"
severity = "fail"
inputs = ["int__usage_priced"]
partition = "month"
--- */
with agreed as (
    select
        usage_date,
        row_number
    from int__usage_priced
    where contract_id is not null and price_id is null
    group by usage_date, row_number
)

select
    priced.usage_date,
    priced.row_number,
    priced.feature,
    priced.provider,
    priced.model,
    priced.component,
    priced.is_unpriced,
    priced.list_cost_usd,
    priced.contracted_cost_usd
from int__usage_priced as priced
left join agreed
    on priced.usage_date = agreed.usage_date
    and priced.row_number = agreed.row_number
where
    (priced.is_unpriced and (priced.list_cost_usd is not null or priced.contracted_cost_usd is not null))
    or (
        not priced.is_unpriced
        and priced.provider <> 'self_hosted'
        and (
            priced.contracted_cost_usd is null
            or (priced.list_cost_usd is null and agreed.row_number is null)
            or (priced.list_cost_usd is not null and agreed.row_number is not null)
        )
    )
order by priced.usage_date, priced.row_number, priced.component
