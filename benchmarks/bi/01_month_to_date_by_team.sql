-- Month to date by team, beside the same days of the month before.
select
    team,
    sum(effective_cost_usd) filter (where usage_date >= date '2026-11-01') as month_to_date_usd,
    sum(effective_cost_usd) filter (where usage_date between date '2026-10-01' and date '2026-10-29') as month_before_usd,
    sum(total_tokens) filter (where usage_date >= date '2026-11-01') as total_tokens
from mart__feature_cost_daily
where usage_date between date '2026-10-01' and date '2026-11-29'
group by team
order by month_to_date_usd desc
