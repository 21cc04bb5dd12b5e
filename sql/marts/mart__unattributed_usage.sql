/* --- toml
title = "Traffic that belongs to no feature, and the rule that would catch it"
grain = "One row per source, account, API key and tag values that no rule and no tag attributes"
key = ["source", "account", "api_key_id", "user_group", "tags"]
inputs = ["int__unattributed_month"]
rows_from = ["int__unattributed_month"]
rules = [
    "contracted cost of the rows is a lower bound where some are unpriced (unpriced_tokens)",
    "suggested_rule is a line for features.csv that would catch exactly these rows; its feature is yours to name",
]
owner = "finops"
partition = "all"
--- */
with unattributed as (
    select
        source,
        account,
        api_key_id,
        user_group,
        tags,
        min(first_day) as first_day,
        max(last_day) as last_day,
        sum(requests) as requests,
        sum(total_tokens) as total_tokens,
        sum(unpriced_tokens) as unpriced_tokens,
        sum(contracted_cost_usd) as contracted_cost_usd
    from int__unattributed_month
    group by source, account, api_key_id, user_group, tags
)

select
    source,
    account,
    api_key_id,
    user_group,
    tags,
    first_day,
    last_day,
    cast(requests as bigint) as requests,
    cast(total_tokens as bigint) as total_tokens,
    cast(unpriced_tokens as bigint) as unpriced_tokens,
    cast(contracted_cost_usd as decimal(38, 12)) as contracted_cost_usd,
    case
        when api_key_id is not null then '100,api_key_id,' || api_key_id || ',FEATURE,,,,'
        when user_group is not null then '100,user_group,' || user_group || ',FEATURE,,,,'
        when account <> 'default' then '100,account,' || account || ',FEATURE,,,,'
        else '900,source,' || source || ',FEATURE,,,,'
    end as suggested_rule
from unattributed
