/* --- toml
title = "Logged usage at list and contracted price, by feature and component"
grain = "One row per UTC day, feature, price key, status, component and whether it could be priced"
key = ["usage_date", "feature", "team", "cost_center", "provider", "account", "model", "service_tier", "status", "component", "is_unpriced"]
inputs = ["int__usage_priced", "int__model_names"]
rules = [
    "match_model is the name under which bills and provider usage are compared: dated alias first, then normalised id",
    "list cost is NULL where any part of the row has none: a sum of known parts would look complete",
    "cache writes of unknown lifetime are compared under the provider's default lifetime",
]
owner = "finops"
--- */
with summed as (
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        status,
        component,
        is_unpriced,
        sum(tokens) as tokens,
        sum(requests) as requests,
        sum(reasoning_tokens) as reasoning_tokens,
        sum(meter_quantity) as meter_quantity,
        case when count(list_cost_usd) = count(*) then sum(list_cost_usd) end as list_cost_usd,
        sum(contracted_cost_usd) as contracted_cost_usd,
        sum(case when is_low_confidence then tokens else 0 end) as low_confidence_tokens
    from int__usage_priced
    group by
        usage_date, feature, team, cost_center, provider, account, model, service_tier, status, component, is_unpriced
)

select
    summed.usage_date,
    summed.feature,
    summed.team,
    summed.cost_center,
    summed.provider,
    summed.account,
    summed.model,
    coalesce(names.match_model, summed.model) as match_model,
    summed.service_tier,
    summed.status,
    summed.component,
    case
        when summed.component = 'cache_write_unknown' and summed.provider in ('openai', 'azure_openai')
            then 'cache_write_30m'
        when summed.component = 'cache_write_unknown' then 'cache_write_5m'
        else summed.component
    end as match_component,
    summed.is_unpriced,
    cast(summed.tokens as bigint) as tokens,
    cast(summed.requests as bigint) as requests,
    cast(summed.reasoning_tokens as bigint) as reasoning_tokens,
    cast(summed.meter_quantity as decimal(38, 9)) as meter_quantity,
    cast(summed.list_cost_usd as decimal(38, 12)) as list_cost_usd,
    cast(summed.contracted_cost_usd as decimal(38, 12)) as contracted_cost_usd,
    cast(summed.low_confidence_tokens as bigint) as low_confidence_tokens
from summed
left join int__model_names as names
    on summed.provider = names.provider
    and summed.model = names.model
    and (names.valid_from is null or cast(names.valid_from as date) <= summed.usage_date)
    and (names.valid_to is null or cast(names.valid_to as date) > summed.usage_date)
