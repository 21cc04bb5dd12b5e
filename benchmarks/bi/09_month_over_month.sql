-- The features whose cost changed most from September to October.
select
    feature,
    team,
    effective_cost_usd,
    change_on_month_before_usd,
    change_on_month_before_percent,
    share_of_total_percent
from mart__feature_cost_monthly
where month = '2026-10'
order by abs(change_on_month_before_usd) desc
limit 25
