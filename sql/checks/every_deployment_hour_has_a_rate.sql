/* --- toml
title = "A rate of gpu_rates.csv is in force for the GPUs of every deployment hour"
severity = "warn"
inputs = ["int__infrastructure_cost_hourly"]
partition = "month"
--- */
select
    deployment,
    gpu_type,
    purchase_type,
    min(usage_date) as first_day,
    max(usage_date) as last_day,
    cast(count(*) as bigint) as hours
from int__infrastructure_cost_hourly
where all_in_cost_usd is null
group by deployment, gpu_type, purchase_type
order by deployment, gpu_type, purchase_type
