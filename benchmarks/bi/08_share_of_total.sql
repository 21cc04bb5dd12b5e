-- Each team's share of all three years, month by month.
select
    month,
    team,
    sum(effective_cost_usd) as effective_cost_usd,
    cast(sum(effective_cost_usd) as double) * 100
    / nullif(cast(sum(sum(effective_cost_usd)) over (partition by month) as double), 0) as share_of_total_percent
from mart__feature_cost_monthly
group by month, team
order by month, effective_cost_usd desc
