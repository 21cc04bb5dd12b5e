/* --- toml
title = "No count of the daily cost mart is negative outside its corrections, and no subset is larger than its whole"
severity = "fail"
inputs = ["mart__feature_cost_daily"]
partition = "month"
--- */
select
    usage_date,
    feature,
    provider,
    account,
    model,
    service_tier,
    requests,
    input_tokens,
    cached_input_tokens,
    cache_write_tokens,
    output_tokens,
    reasoning_tokens,
    total_tokens,
    unpriced_tokens
from mart__feature_cost_daily
where
    charge_class is null
    and (
        requests < 0
        or cached_input_tokens < 0
        or cache_write_tokens < 0
        or output_tokens < 0
        or reasoning_tokens < 0
        or unpriced_tokens < 0
        or cached_input_tokens + cache_write_tokens > input_tokens
        or unpriced_tokens > total_tokens
        or input_tokens + output_tokens <> total_tokens
    )
order by usage_date, feature, provider, account, model, service_tier
