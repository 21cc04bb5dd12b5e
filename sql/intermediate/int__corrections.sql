/* --- toml
title = "Corrections of closed months, posted into the first open month after them"
grain = "One row per closed month and key of feature costs with a change that no other closed month holds yet"
key = ["month", "feature", "team", "cost_center", "provider", "account", "model", "service_tier"]
inputs = ["int__closed_difference", "core__closed_costs", "core__closed_months"]
rows_from = ["core__closed_months"]
rules = [
    "a correction is the month recomputed, less its frozen rows, less the corrections of it that other closed months froze",
    "so it needs no diary of postings: it stands in the first month after its own that is open, until that one is closed",
]
owner = "finops"
partition = "all"
--- */
with followers as (
    select
        month,
        strftime(cast(month || '-01' as date) + interval 1 month, '%Y-%m') as following_month
    from core__closed_months
),

open_followers as (
    select followers.following_month
    from followers
    left join core__closed_months as closed on followers.following_month = closed.month
    where closed.month is null
),

postings as (
    select
        followers.month,
        min(open_followers.following_month) as posting_month
    from followers
    inner join open_followers on followers.month < open_followers.following_month
    group by followers.month
),

posted as (
    select
        costs.corrected_month as month,
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
    where costs.charge_class is not null
    group by
        costs.corrected_month,
        costs.feature,
        costs.team,
        costs.cost_center,
        costs.provider,
        costs.account,
        costs.model,
        costs.service_tier
),

remaining as (
    select
        coalesce(differences.month, posted.month) as month,
        coalesce(differences.feature, posted.feature) as feature,
        coalesce(differences.team, posted.team) as team,
        coalesce(differences.cost_center, posted.cost_center) as cost_center,
        coalesce(differences.provider, posted.provider) as provider,
        coalesce(differences.account, posted.account) as account,
        coalesce(differences.model, posted.model) as model,
        coalesce(differences.service_tier, posted.service_tier) as service_tier,
        cast(coalesce(differences.requests, 0) - coalesce(posted.requests, 0) as bigint) as requests,
        cast(coalesce(differences.input_tokens, 0) - coalesce(posted.input_tokens, 0) as bigint) as input_tokens,
        cast(coalesce(differences.cached_input_tokens, 0) - coalesce(posted.cached_input_tokens, 0) as bigint)
            as cached_input_tokens,
        cast(coalesce(differences.cache_write_tokens, 0) - coalesce(posted.cache_write_tokens, 0) as bigint)
            as cache_write_tokens,
        cast(coalesce(differences.output_tokens, 0) - coalesce(posted.output_tokens, 0) as bigint) as output_tokens,
        cast(coalesce(differences.reasoning_tokens, 0) - coalesce(posted.reasoning_tokens, 0) as bigint)
            as reasoning_tokens,
        cast(coalesce(differences.total_tokens, 0) - coalesce(posted.total_tokens, 0) as bigint) as total_tokens,
        cast(coalesce(differences.unpriced_tokens, 0) - coalesce(posted.unpriced_tokens, 0) as bigint)
            as unpriced_tokens,
        cast(
            case
                when differences.list_cost_usd is not null or posted.list_cost_usd is not null
                    then coalesce(differences.list_cost_usd, 0) - coalesce(posted.list_cost_usd, 0)
            end as decimal(38, 12)
        ) as list_cost_usd,
        cast(
            case
                when differences.contracted_cost_usd is not null or posted.contracted_cost_usd is not null
                    then coalesce(differences.contracted_cost_usd, 0) - coalesce(posted.contracted_cost_usd, 0)
            end as decimal(38, 12)
        ) as contracted_cost_usd,
        cast(
            case
                when differences.billed_cost_usd is not null or posted.billed_cost_usd is not null
                    then coalesce(differences.billed_cost_usd, 0) - coalesce(posted.billed_cost_usd, 0)
            end as decimal(38, 12)
        ) as billed_cost_usd,
        cast(
            case
                when differences.effective_cost_usd is not null or posted.effective_cost_usd is not null
                    then coalesce(differences.effective_cost_usd, 0) - coalesce(posted.effective_cost_usd, 0)
            end as decimal(38, 12)
        ) as effective_cost_usd,
        cast(
            case
                when differences.non_token_cost_usd is not null or posted.non_token_cost_usd is not null
                    then coalesce(differences.non_token_cost_usd, 0) - coalesce(posted.non_token_cost_usd, 0)
            end as decimal(38, 12)
        ) as non_token_cost_usd
    from int__closed_difference as differences
    full outer join posted
        on differences.month = posted.month
        and differences.feature = posted.feature
        and differences.team is not distinct from posted.team
        and differences.cost_center is not distinct from posted.cost_center
        and differences.provider = posted.provider
        and differences.account = posted.account
        and differences.model = posted.model
        and differences.service_tier = posted.service_tier
)

select
    remaining.feature,
    remaining.team,
    remaining.cost_center,
    remaining.provider,
    remaining.account,
    remaining.model,
    remaining.service_tier,
    remaining.requests,
    remaining.input_tokens,
    remaining.cached_input_tokens,
    remaining.cache_write_tokens,
    remaining.output_tokens,
    remaining.reasoning_tokens,
    remaining.total_tokens,
    remaining.unpriced_tokens,
    remaining.list_cost_usd,
    remaining.contracted_cost_usd,
    remaining.billed_cost_usd,
    remaining.effective_cost_usd,
    remaining.non_token_cost_usd,
    remaining.month,
    postings.posting_month
from remaining
inner join postings on remaining.month = postings.month
where
    remaining.requests <> 0
    or remaining.input_tokens <> 0
    or remaining.cached_input_tokens <> 0
    or remaining.cache_write_tokens <> 0
    or remaining.output_tokens <> 0
    or remaining.reasoning_tokens <> 0
    or remaining.total_tokens <> 0
    or remaining.unpriced_tokens <> 0
    or remaining.list_cost_usd <> 0
    or remaining.contracted_cost_usd <> 0
    or remaining.billed_cost_usd <> 0
    or remaining.effective_cost_usd <> 0
    or remaining.non_token_cost_usd <> 0
