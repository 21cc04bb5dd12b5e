/* --- toml
title = "What features cost on self-hosted machines, by usage and fully loaded"
grain = "One row per UTC day, deployment, feature, team, cost center, model and service tier"
key = ["usage_date", "deployment", "feature", "team", "cost_center", "model", "service_tier"]
inputs = ["int__infrastructure_shares", "int__self_hosted_usage"]
rows_from = ["int__infrastructure_shares"]
rules = [
    "usage basis: busy cost by work, idle cost by the deployment's policy; it is the effective cost of mart__feature_cost_daily",
    "fully loaded: the day's idle cost on those who were served, in proportion to their busy cost; compare an API with this one",
    "per deployment and day each basis sums to the ledger exactly",
    "half and double: the same with the output weight halved and doubled; the weights are assumptions unless declared or calibrated",
]
owner = "finops"
--- */
with logged as (
    select
        usage_date,
        deployment,
        feature,
        team,
        cost_center,
        model,
        service_tier,
        sum(requests) as requests,
        sum(uncached_tokens + cached_tokens) as input_tokens,
        sum(cached_tokens) as cached_input_tokens,
        sum(output_tokens) as output_tokens
    from int__self_hosted_usage
    group by usage_date, deployment, feature, team, cost_center, model, service_tier
)

select
    shares.usage_date,
    shares.deployment,
    shares.feature,
    shares.team,
    shares.cost_center,
    shares.model,
    shares.service_tier,
    cast(coalesce(logged.requests, 0) as bigint) as requests,
    cast(coalesce(logged.input_tokens, 0) as bigint) as input_tokens,
    cast(coalesce(logged.cached_input_tokens, 0) as bigint) as cached_input_tokens,
    cast(coalesce(logged.output_tokens, 0) as bigint) as output_tokens,
    cast(coalesce(logged.input_tokens + logged.output_tokens, 0) as bigint) as total_tokens,
    shares.busy_cost_usd,
    shares.usage_cost_usd,
    shares.fully_loaded_cost_usd,
    shares.usage_cost_output_weight_half_usd,
    shares.usage_cost_output_weight_double_usd,
    cast(
        cast(shares.usage_cost_usd as double) * 1000000 / nullif(logged.input_tokens + logged.output_tokens, 0)
        as decimal(38, 12)
    ) as usage_cost_per_mtok_usd,
    cast(
        cast(shares.fully_loaded_cost_usd as double) * 1000000 / nullif(logged.input_tokens + logged.output_tokens, 0)
        as decimal(38, 12)
    ) as fully_loaded_cost_per_mtok_usd
from int__infrastructure_shares as shares
left join logged
    on shares.usage_date = logged.usage_date
    and shares.deployment = logged.deployment
    and shares.feature = logged.feature
    and shares.team is not distinct from logged.team
    and shares.cost_center is not distinct from logged.cost_center
    and shares.model = logged.model
    and shares.service_tier = logged.service_tier
