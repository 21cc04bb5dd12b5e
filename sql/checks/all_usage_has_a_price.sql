/* --- toml
title = "All usage has a price"
severity = "warn"
inputs = ["mart__unpriced_usage"]
--- */
select
    provider,
    model,
    service_tier,
    region,
    component,
    first_day,
    last_day,
    tokens,
    reason,
    nearest_ids
from mart__unpriced_usage
order by provider, model, service_tier, region, component
