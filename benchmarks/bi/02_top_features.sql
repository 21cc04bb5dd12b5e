-- The twenty features that cost most in the last thirty days, and what a million tokens of each costs.
select
    feature,
    team,
    sum(requests) as requests,
    sum(total_tokens) as total_tokens,
    sum(effective_cost_usd) as effective_cost_usd,
    cast(sum(effective_cost_usd) as double) * 1000000 / nullif(sum(total_tokens), 0) as cost_per_mtok_usd
from mart__feature_cost_daily
where usage_date between date '2026-10-31' and date '2026-11-29'
group by feature, team
order by effective_cost_usd desc
limit 20
