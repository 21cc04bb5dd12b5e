/* --- toml
title = "How much detail logs, provider usage and bill share"
grain = "One row per provider and UTC day with billed tokens"
key = ["usage_date", "provider"]
inputs = ["int__bill_lines", "int__provider_cost", "int__usage_cost"]
rows_from = ["int__bill_lines"]
rules = [
    "accounts are compared only where every side knows them: an ungrouped export means any account, and a log that says `default` where the bill does not know that account says nothing",
    "models are compared only where provider usage, if there is any, was grouped by model",
]
owner = "finops"
--- */
with billed as (
    select
        usage_date,
        provider,
        max(case when account = '*' then 1 else 0 end) as bill_lacks_account,
        max(case when account = 'default' then 1 else 0 end) as bill_knows_default
    from int__bill_lines
    where charge_kind = 'token'
    group by usage_date, provider
),

provided as (
    select
        usage_date,
        provider,
        max(case when account = '*' then 1 else 0 end) as usage_lacks_account,
        max(case when match_model = '*' then 1 else 0 end) as usage_lacks_model
    from int__provider_cost
    where not is_meter
    group by usage_date, provider
),

logged as (
    select
        usage_date,
        provider,
        max(case when account = 'default' then 1 else 0 end) as log_says_default
    from int__usage_cost
    group by usage_date, provider
)

select
    billed.usage_date,
    billed.provider,
    billed.bill_lacks_account = 0
    and coalesce(provided.usage_lacks_account, 0) = 0
    and not (coalesce(logged.log_says_default, 0) = 1 and billed.bill_knows_default = 0) as has_account,
    coalesce(provided.usage_lacks_model, 0) = 0 as has_model,
    provided.provider is not null as has_provider_usage
from billed
left join provided on billed.usage_date = provided.usage_date and billed.provider = provided.provider
left join logged on billed.usage_date = logged.usage_date and billed.provider = logged.provider
