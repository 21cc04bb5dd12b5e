/* --- toml
title = "What a closed month would be now, less what it was frozen with"
grain = "One row per closed month and key of feature costs whose recomputed sum is not its frozen sum"
key = ["month", "feature", "team", "cost_center", "provider", "account", "model", "service_tier"]
inputs = ["int__feature_cost_daily", "core__closed_costs", "core__closed_months"]
rows_from = ["core__closed_months"]
rules = [
    "frozen rows plus these differences are the month as it would be computed now, for every count and every cost",
    "a cost that was never known and is not known now is NULL; one that became known counts from 0",
]
owner = "finops"
--- */
with recomputed as (
    select
        closed.month,
        costs.feature,
        costs.team,
        costs.cost_center,
        costs.provider,
        costs.account,
        costs.model,
        costs.service_tier,
        sum(costs.requests) as requests,
        sum(costs.input_tokens) as input_tokens,
        sum(costs.cached_input_tokens) as cached_input_tokens,
        sum(costs.cache_write_tokens) as cache_write_tokens,
        sum(costs.output_tokens) as output_tokens,
        sum(costs.reasoning_tokens) as reasoning_tokens,
        sum(costs.total_tokens) as total_tokens,
        sum(costs.unpriced_tokens) as unpriced_tokens,
        sum(costs.list_cost_usd) as list_cost_usd,
        sum(costs.contracted_cost_usd) as contracted_cost_usd,
        sum(costs.billed_cost_usd) as billed_cost_usd,
        sum(costs.effective_cost_usd) as effective_cost_usd,
        sum(costs.non_token_cost_usd) as non_token_cost_usd
    from int__feature_cost_daily as costs
    inner join core__closed_months as closed on strftime(costs.usage_date, '%Y-%m') = closed.month
    group by
        closed.month,
        costs.feature,
        costs.team,
        costs.cost_center,
        costs.provider,
        costs.account,
        costs.model,
        costs.service_tier
),

frozen as (
    select
        strftime(costs.usage_date, '%Y-%m') as month,
        costs.feature,
        costs.team,
        costs.cost_center,
        costs.provider,
        costs.account,
        costs.model,
        costs.service_tier,
        sum(costs.requests) as requests,
        sum(costs.input_tokens) as input_tokens,
        sum(costs.cached_input_tokens) as cached_input_tokens,
        sum(costs.cache_write_tokens) as cache_write_tokens,
        sum(costs.output_tokens) as output_tokens,
        sum(costs.reasoning_tokens) as reasoning_tokens,
        sum(costs.total_tokens) as total_tokens,
        sum(costs.unpriced_tokens) as unpriced_tokens,
        sum(costs.list_cost_usd) as list_cost_usd,
        sum(costs.contracted_cost_usd) as contracted_cost_usd,
        sum(costs.billed_cost_usd) as billed_cost_usd,
        sum(costs.effective_cost_usd) as effective_cost_usd,
        sum(costs.non_token_cost_usd) as non_token_cost_usd
    from core__closed_costs as costs
    inner join core__closed_months as closed on strftime(costs.usage_date, '%Y-%m') = closed.month
    where costs.charge_class is null
    group by
        strftime(costs.usage_date, '%Y-%m'),
        costs.feature,
        costs.team,
        costs.cost_center,
        costs.provider,
        costs.account,
        costs.model,
        costs.service_tier
),

differences as (
    select
        coalesce(recomputed.month, frozen.month) as month,
        coalesce(recomputed.feature, frozen.feature) as feature,
        coalesce(recomputed.team, frozen.team) as team,
        coalesce(recomputed.cost_center, frozen.cost_center) as cost_center,
        coalesce(recomputed.provider, frozen.provider) as provider,
        coalesce(recomputed.account, frozen.account) as account,
        coalesce(recomputed.model, frozen.model) as model,
        coalesce(recomputed.service_tier, frozen.service_tier) as service_tier,
        cast(coalesce(recomputed.requests, 0) - coalesce(frozen.requests, 0) as bigint) as requests,
        cast(coalesce(recomputed.input_tokens, 0) - coalesce(frozen.input_tokens, 0) as bigint) as input_tokens,
        cast(coalesce(recomputed.cached_input_tokens, 0) - coalesce(frozen.cached_input_tokens, 0) as bigint)
            as cached_input_tokens,
        cast(coalesce(recomputed.cache_write_tokens, 0) - coalesce(frozen.cache_write_tokens, 0) as bigint)
            as cache_write_tokens,
        cast(coalesce(recomputed.output_tokens, 0) - coalesce(frozen.output_tokens, 0) as bigint) as output_tokens,
        cast(coalesce(recomputed.reasoning_tokens, 0) - coalesce(frozen.reasoning_tokens, 0) as bigint)
            as reasoning_tokens,
        cast(coalesce(recomputed.total_tokens, 0) - coalesce(frozen.total_tokens, 0) as bigint) as total_tokens,
        cast(coalesce(recomputed.unpriced_tokens, 0) - coalesce(frozen.unpriced_tokens, 0) as bigint)
            as unpriced_tokens,
        cast(
            case
                when recomputed.list_cost_usd is not null or frozen.list_cost_usd is not null
                    then coalesce(recomputed.list_cost_usd, 0) - coalesce(frozen.list_cost_usd, 0)
            end as decimal(38, 12)
        ) as list_cost_usd,
        cast(
            case
                when recomputed.contracted_cost_usd is not null or frozen.contracted_cost_usd is not null
                    then coalesce(recomputed.contracted_cost_usd, 0) - coalesce(frozen.contracted_cost_usd, 0)
            end as decimal(38, 12)
        ) as contracted_cost_usd,
        cast(
            case
                when recomputed.billed_cost_usd is not null or frozen.billed_cost_usd is not null
                    then coalesce(recomputed.billed_cost_usd, 0) - coalesce(frozen.billed_cost_usd, 0)
            end as decimal(38, 12)
        ) as billed_cost_usd,
        cast(
            case
                when recomputed.effective_cost_usd is not null or frozen.effective_cost_usd is not null
                    then coalesce(recomputed.effective_cost_usd, 0) - coalesce(frozen.effective_cost_usd, 0)
            end as decimal(38, 12)
        ) as effective_cost_usd,
        cast(
            case
                when recomputed.non_token_cost_usd is not null or frozen.non_token_cost_usd is not null
                    then coalesce(recomputed.non_token_cost_usd, 0) - coalesce(frozen.non_token_cost_usd, 0)
            end as decimal(38, 12)
        ) as non_token_cost_usd
    from recomputed
    full outer join frozen
        on recomputed.month = frozen.month
        and recomputed.feature = frozen.feature
        and recomputed.team is not distinct from frozen.team
        and recomputed.cost_center is not distinct from frozen.cost_center
        and recomputed.provider = frozen.provider
        and recomputed.account = frozen.account
        and recomputed.model = frozen.model
        and recomputed.service_tier = frozen.service_tier
)

select
    feature,
    team,
    cost_center,
    provider,
    account,
    model,
    service_tier,
    requests,
    input_tokens,
    cached_input_tokens,
    cache_write_tokens,
    output_tokens,
    reasoning_tokens,
    total_tokens,
    unpriced_tokens,
    list_cost_usd,
    contracted_cost_usd,
    billed_cost_usd,
    effective_cost_usd,
    non_token_cost_usd,
    month
from differences
where
    requests <> 0
    or input_tokens <> 0
    or cached_input_tokens <> 0
    or cache_write_tokens <> 0
    or output_tokens <> 0
    or reasoning_tokens <> 0
    or total_tokens <> 0
    or unpriced_tokens <> 0
    or list_cost_usd <> 0
    or contracted_cost_usd <> 0
    or billed_cost_usd <> 0
    or effective_cost_usd <> 0
    or non_token_cost_usd <> 0
