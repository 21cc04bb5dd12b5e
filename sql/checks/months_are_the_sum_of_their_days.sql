/* --- toml
title = "Tokens and every cost of a month are the sum of its days"
severity = "fail"
inputs = ["mart__feature_cost_daily", "mart__feature_cost_monthly"]
partition = "month"
--- */
with owners as (
    select
        strftime(usage_date, '%Y-%m') as month,
        sum(total_tokens) as total_tokens,
        sum(list_cost_usd) as list_cost_usd,
        sum(contracted_cost_usd) as contracted_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd,
        max(case when contracted_cost_usd is not null and list_cost_usd is null then 1 else 0 end) as has_list_gap
    from mart__feature_cost_daily
    group by strftime(usage_date, '%Y-%m'), feature, team, cost_center
),

days as (
    select
        month,
        sum(total_tokens) as total_tokens,
        sum(case when has_list_gap = 0 then list_cost_usd end) as list_cost_usd,
        sum(contracted_cost_usd) as contracted_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from owners
    group by month
),

months as (
    select
        month,
        sum(total_tokens) as total_tokens,
        sum(list_cost_usd) as list_cost_usd,
        sum(contracted_cost_usd) as contracted_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from mart__feature_cost_monthly
    group by month
)

select
    coalesce(days.month, months.month) as month,
    days.total_tokens as day_tokens,
    months.total_tokens as month_tokens,
    days.effective_cost_usd as day_effective_cost_usd,
    months.effective_cost_usd as month_effective_cost_usd,
    days.billed_cost_usd as day_billed_cost_usd,
    months.billed_cost_usd as month_billed_cost_usd
from days
full outer join months on days.month = months.month
where
    days.total_tokens is distinct from months.total_tokens
    or days.list_cost_usd is distinct from months.list_cost_usd
    or days.contracted_cost_usd is distinct from months.contracted_cost_usd
    or days.billed_cost_usd is distinct from months.billed_cost_usd
    or days.effective_cost_usd is distinct from months.effective_cost_usd
order by month
