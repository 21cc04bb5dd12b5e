/* --- toml
title = "Logged tokens of self-hosted models by deployment and hour"
grain = "One row per deployment, UTC hour, owner, model and service tier"
key = ["hour_start", "deployment", "feature", "team", "cost_center", "model", "service_tier"]
inputs = ["int__usage_priced"]
rows_from = ["int__usage_priced"]
rules = [
    "a self-hosted request log names the deployment in account; its roll-up is cut by hour",
    "all attempts are included, failed ones too: a GPU works for them as well",
    "input that is not read from a cache is uncached, cache writes with it",
]
owner = "finops"
--- */
with logged as (
    select
        usage_date,
        segment_start as hour_start,
        account as deployment,
        feature,
        team,
        cost_center,
        model,
        service_tier,
        component,
        requests,
        tokens
    from int__usage_priced
    where provider = 'self_hosted'
)

select
    usage_date,
    hour_start,
    deployment,
    feature,
    team,
    cost_center,
    model,
    service_tier,
    cast(sum(requests) as bigint) as requests,
    cast(
        sum(
            case
                when component in ('cache_read', 'cache_read_audio', 'output', 'output_audio', 'output_image') then 0
                else tokens
            end
        ) as bigint
    ) as uncached_tokens,
    cast(
        sum(case when component in ('cache_read', 'cache_read_audio') then tokens else 0 end) as bigint
    ) as cached_tokens,
    cast(
        sum(case when component in ('output', 'output_audio', 'output_image') then tokens else 0 end) as bigint
    ) as output_tokens
from logged
group by usage_date, hour_start, deployment, feature, team, cost_center, model, service_tier
