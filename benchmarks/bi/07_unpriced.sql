-- What has no price, the largest first.
select
    provider,
    model,
    service_tier,
    component,
    unpriced_tokens,
    requests,
    first_day,
    last_day,
    reason,
    nearest_ids
from mart__unpriced_usage
order by unpriced_tokens desc
limit 50
