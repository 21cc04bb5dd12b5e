/* --- toml
title = "What each feature cost per month, its share of the total and the change on the month before"
grain = "One row per month, feature, team and cost center"
key = ["month", "feature", "team", "cost_center"]
inputs = ["int__feature_cost_month"]
rules = [
    "every amount is the sum of the month's days, list cost NULL where a day has priced usage without a public price; the share is of the month's effective cost",
    "the change compares effective cost with the month before, NULL where there is none",
]
owner = "finops"
partition = "all"
--- */
with months as (
    select * from int__feature_cost_month
),

totals as (
    select
        month,
        sum(effective_cost_usd) as total_cost_usd
    from months
    group by month
)

select
    months.month,
    months.feature,
    months.team,
    months.cost_center,
    months.requests,
    months.input_tokens,
    months.cached_input_tokens,
    months.cache_write_tokens,
    months.output_tokens,
    months.reasoning_tokens,
    months.total_tokens,
    months.unpriced_tokens,
    months.list_cost_usd,
    months.contracted_cost_usd,
    months.billed_cost_usd,
    months.effective_cost_usd,
    months.non_token_cost_usd,
    case months.worst_status when 3 then 'estimated' when 2 then 'provisional' else 'final' end as cost_status,
    cast(
        cast(months.effective_cost_usd as double) * 1000000 / nullif(months.total_tokens, 0) as decimal(38, 12)
    ) as cost_per_mtok_usd,
    cast(
        cast(months.effective_cost_usd as double) * 1000000 / nullif(months.output_tokens, 0) as decimal(38, 12)
    ) as cost_per_mtok_output_usd,
    cast(
        cast(months.effective_cost_usd as double)
        * 100
        / nullif(cast(totals.total_cost_usd as double), 0) as decimal(18, 6)
    ) as share_of_total_percent,
    cast(months.effective_cost_usd - before.effective_cost_usd as decimal(38, 12)) as change_on_month_before_usd,
    cast(
        (cast(months.effective_cost_usd as double) - cast(before.effective_cost_usd as double)) * 100
        / nullif(cast(before.effective_cost_usd as double), 0) as decimal(18, 6)
    ) as change_on_month_before_percent
from months
inner join totals on months.month = totals.month
left join months as before
    on before.month_start + interval 1 month = months.month_start
    and months.feature = before.feature
    and months.team is not distinct from before.team
    and months.cost_center is not distinct from before.cost_center
