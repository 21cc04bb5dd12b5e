-- The fourth page of a detail table, as an export or a scrolling grid asks for it: all columns of the mart.
select *
from mart__feature_cost_daily
where team = 'team-07' and usage_date between date '2026-11-01' and date '2026-11-29'
order by usage_date, feature, provider, account, model, service_tier
limit 200 offset 600
