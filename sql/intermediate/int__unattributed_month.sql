/* --- toml
title = "Traffic of one month that belongs to no feature"
grain = "One row per month, source, account, API key, user group and tag values"
key = ["month", "source", "account", "api_key_id", "user_group", "tags"]
inputs = ["int__usage_priced"]
rows_from = ["int__usage_priced"]
rules = ["contracted cost is a lower bound where some rows are unpriced (unpriced_tokens)"]
owner = "finops"
--- */
select
    strftime(usage_date, '%Y-%m') as month,
    source,
    account,
    api_key_id,
    user_group,
    tags,
    min(usage_date) as first_day,
    max(usage_date) as last_day,
    cast(sum(requests) as bigint) as requests,
    cast(sum(tokens) as bigint) as total_tokens,
    cast(sum(case when is_unpriced then tokens else 0 end) as bigint) as unpriced_tokens,
    cast(sum(contracted_cost_usd) as decimal(38, 12)) as contracted_cost_usd
from int__usage_priced
where feature = '__unattributed__'
group by strftime(usage_date, '%Y-%m'), source, account, api_key_id, user_group, tags
