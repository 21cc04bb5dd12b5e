/* --- toml
title = "Feature cost summed over one month"
grain = "One row per month, feature, team and cost center"
key = ["month", "feature", "team", "cost_center"]
inputs = ["mart__feature_cost_daily"]
rules = [
    "every amount is the sum of the month's days; the status is the worst of them",
    "list cost is NULL where a day has contracted cost and no list cost: what a contract alone prices has no public price",
]
owner = "finops"
--- */
select
    strftime(usage_date, '%Y-%m') as month,
    cast(date_trunc('month', usage_date) as date) as month_start,
    feature,
    team,
    cost_center,
    cast(sum(requests) as bigint) as requests,
    cast(sum(input_tokens) as bigint) as input_tokens,
    cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
    cast(sum(cache_write_tokens) as bigint) as cache_write_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(reasoning_tokens) as bigint) as reasoning_tokens,
    cast(sum(total_tokens) as bigint) as total_tokens,
    cast(sum(unpriced_tokens) as bigint) as unpriced_tokens,
    cast(
        case
            when max(case when contracted_cost_usd is not null and list_cost_usd is null then 1 else 0 end) = 0
                then sum(list_cost_usd)
        end as decimal(38, 12)
    ) as list_cost_usd,
    cast(sum(contracted_cost_usd) as decimal(38, 12)) as contracted_cost_usd,
    cast(sum(billed_cost_usd) as decimal(38, 12)) as billed_cost_usd,
    cast(sum(effective_cost_usd) as decimal(38, 12)) as effective_cost_usd,
    cast(sum(non_token_cost_usd) as decimal(38, 12)) as non_token_cost_usd,
    max(
        case cost_status when 'estimated' then 3 when 'provisional' then 2 else 1 end
    ) as worst_status
from mart__feature_cost_daily
group by
    strftime(usage_date, '%Y-%m'), cast(date_trunc('month', usage_date) as date), feature, team, cost_center
