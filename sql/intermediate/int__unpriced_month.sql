/* --- toml
title = "Usage of one month that no price row covers"
grain = "One row per month, provider, model, service tier, region and component without a price"
key = ["month", "provider", "model", "service_tier", "region", "component"]
inputs = ["int__usage_priced"]
rows_from = ["int__usage_priced"]
rules = ["tokens are those of the component without a price; unpriced_tokens are all tokens of the rows that it leaves unpriced"]
owner = "finops"
--- */
with totals as (
    select
        usage_date,
        row_number,
        sum(tokens) as row_tokens,
        sum(requests) as row_requests
    from int__usage_priced
    where is_unpriced
    group by usage_date, row_number
),

gaps as (
    select
        strftime(priced.usage_date, '%Y-%m') as month,
        priced.provider,
        priced.model,
        priced.service_tier,
        priced.region,
        priced.component,
        min(priced.usage_date) as first_day,
        max(priced.usage_date) as last_day,
        sum(priced.tokens) as tokens,
        sum(totals.row_tokens) as unpriced_tokens,
        sum(totals.row_requests) as requests,
        sum(priced.meter_quantity) as meter_quantity
    from int__usage_priced as priced
    inner join totals
        on priced.usage_date = totals.usage_date and priced.row_number = totals.row_number
    where priced.lacks_price
    group by
        strftime(priced.usage_date, '%Y-%m'),
        priced.provider,
        priced.model,
        priced.service_tier,
        priced.region,
        priced.component
)

select
    month,
    provider,
    model,
    service_tier,
    region,
    component,
    first_day,
    last_day,
    cast(tokens as bigint) as tokens,
    cast(unpriced_tokens as bigint) as unpriced_tokens,
    cast(requests as bigint) as requests,
    cast(meter_quantity as decimal(38, 9)) as meter_quantity
from gaps
