/* --- toml
title = "Hardware, energy, licences, engineering, network and storage sum to the all-in cost of every deployment hour, and so do busy and idle"
severity = "fail"
inputs = ["int__infrastructure_cost_hourly"]
partition = "month"
--- */
select
    deployment,
    hour_start,
    hardware_cost_usd,
    energy_cost_usd,
    licences_cost_usd,
    engineering_cost_usd,
    network_storage_cost_usd,
    all_in_cost_usd,
    busy_cost_usd,
    idle_cost_usd
from int__infrastructure_cost_hourly
where
    all_in_cost_usd <> hardware_cost_usd + energy_cost_usd + licences_cost_usd + engineering_cost_usd
    + network_storage_cost_usd
    or all_in_cost_usd <> busy_cost_usd + idle_cost_usd
    or (all_in_cost_usd is null) <> (hardware_cost_usd is null)
    or cooling_cost_usd > energy_cost_usd
order by deployment, hour_start
