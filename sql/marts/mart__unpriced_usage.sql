/* --- toml
title = "Usage that no price row covers, with the nearest names the price book knows"
grain = "One row per provider, model, service tier, region and component without a price"
key = ["provider", "model", "service_tier", "region", "component"]
inputs = ["int__unpriced_month", "int__nearest_models"]
rows_from = ["int__unpriced_month"]
rules = [
    "tokens are those of the component without a price; unpriced_tokens are all tokens of the rows that it leaves unpriced",
    "nearest_ids are a hint for a person, never used as a price",
]
owner = "finops"
partition = "all"
--- */
with gaps as (
    select
        provider,
        model,
        service_tier,
        region,
        component,
        min(first_day) as first_day,
        max(last_day) as last_day,
        sum(tokens) as tokens,
        sum(unpriced_tokens) as unpriced_tokens,
        sum(requests) as requests,
        sum(meter_quantity) as meter_quantity
    from int__unpriced_month
    group by provider, model, service_tier, region, component
)

select
    gaps.provider,
    gaps.model,
    gaps.service_tier,
    gaps.region,
    gaps.component,
    gaps.first_day,
    gaps.last_day,
    cast(gaps.tokens as bigint) as tokens,
    cast(gaps.unpriced_tokens as bigint) as unpriced_tokens,
    cast(gaps.requests as bigint) as requests,
    cast(gaps.meter_quantity as decimal(38, 9)) as meter_quantity,
    coalesce(nearest.reason, 'no price row in force') as reason,
    nearest.nearest_ids
from gaps
left join int__nearest_models as nearest
    on gaps.provider = nearest.provider and gaps.model = nearest.model
