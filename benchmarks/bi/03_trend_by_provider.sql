-- Ninety days by provider: one line each in a chart.
select
    usage_date,
    provider,
    sum(effective_cost_usd) as effective_cost_usd,
    sum(total_tokens) as total_tokens
from mart__feature_cost_daily
where usage_date between date '2026-09-01' and date '2026-11-29'
group by usage_date, provider
order by usage_date, provider
