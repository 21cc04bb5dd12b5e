/* --- toml
title = "Days on which a provider's bill is complete"
grain = "One row per provider, account (`*` = any) and UTC day with a complete bill, every line of it in dollars"
key = ["provider", "account", "usage_date"]
inputs = ["int__bill_sources", "int__bill_lines"]
rows_from = ["int__bill_sources"]
rules = [
    "the source that counts is complete there; an empty bucket counts: missing is not zero",
    "a day with a line in a currency without a rate is not complete in dollars: what it cost is unknown, never 0",
]
owner = "finops"
--- */
with unrated as (
    select distinct
        provider,
        account,
        usage_date
    from int__bill_lines
    where billed_cost_usd is null
),

unknown_days as (
    select distinct
        sources.provider,
        sources.account,
        sources.usage_date
    from int__bill_sources as sources
    inner join unrated
        on sources.provider = unrated.provider
        and sources.usage_date = unrated.usage_date
        and (sources.account = unrated.account or sources.account = '*' or unrated.account = '*')
)

select distinct
    sources.provider,
    sources.account,
    sources.usage_date
from int__bill_sources as sources
left join unknown_days
    on sources.provider = unknown_days.provider
    and sources.account = unknown_days.account
    and sources.usage_date = unknown_days.usage_date
where sources.is_complete and unknown_days.provider is null
