/* --- toml
title = "The daily cost mart has one row per day, feature, team, cost center, provider, account, model, tier and correction"
severity = "fail"
inputs = ["mart__feature_cost_daily"]
partition = "month"
--- */
select
    usage_date,
    feature,
    team,
    cost_center,
    provider,
    account,
    model,
    service_tier,
    charge_class,
    corrected_month,
    count(*) as copies
from mart__feature_cost_daily
group by usage_date, feature, team, cost_center, provider, account, model, service_tier, charge_class, corrected_month
having count(*) > 1
order by usage_date, feature, team, cost_center, provider, account, model, service_tier
