/* --- toml
title = "Who may claim a share of each billed token key"
grain = "One row per billed key and claimant; keys that nobody logged have one row without a claimant"
key = ["key_id", "feature", "team", "cost_center", "account", "model", "service_tier", "component"]
inputs = ["int__billed_keys", "int__logged_keyed", "int__provider_keyed", "int__match_detail"]
rows_from = ["int__billed_keys"]
rules = [
    "a key is compared with provider usage when the provider's export has any row for its account and day",
    "amounts are whole pico-dollars; the shares themselves are computed by largest remainder in transforms/matching.py",
]
owner = "finops"
--- */
with logged as (
    select
        key_id,
        feature,
        team,
        cost_center,
        account,
        model,
        service_tier,
        component,
        sum(tokens) as tokens,
        sum(contracted_cost_usd) as contracted_cost_usd,
        sum(case when is_unpriced then tokens else 0 end) as unpriced_tokens
    from int__logged_keyed
    where key_id is not null
    group by key_id, feature, team, cost_center, account, model, service_tier, component
),

provided as (
    select
        key_id,
        sum(tokens) as tokens,
        case when count(provider_cost_usd) = count(*) then sum(provider_cost_usd) end as provider_cost_usd
    from int__provider_keyed
    where key_id is not null
    group by key_id
),

witnessed as (
    select distinct
        provided_rows.usage_date,
        provided_rows.provider,
        case when detail.has_account then provided_rows.account else '*' end as key_account
    from int__provider_keyed as provided_rows
    inner join int__match_detail as detail
        on provided_rows.usage_date = detail.usage_date and provided_rows.provider = detail.provider
)

select
    billed.key_id,
    billed.usage_date,
    billed.provider,
    billed.key_account,
    billed.key_model,
    billed.key_tier,
    billed.key_component,
    cast(billed.match_level as integer) as match_level,
    billed.billed_cost_usd,
    billed.effective_cost_usd,
    billed.billed_cost_at_invoice_rate_usd,
    witnessed.provider is not null as has_provider_usage,
    cast(provided.tokens as bigint) as provider_tokens,
    cast(provided.provider_cost_usd as decimal(38, 12)) as provider_cost_usd,
    logged.feature,
    logged.team,
    logged.cost_center,
    logged.account,
    logged.model,
    logged.service_tier,
    logged.component,
    cast(logged.tokens as bigint) as tokens,
    cast(logged.unpriced_tokens as bigint) as unpriced_tokens,
    cast(logged.contracted_cost_usd as decimal(38, 12)) as contracted_cost_usd
from int__billed_keys as billed
left join witnessed
    on billed.usage_date = witnessed.usage_date
    and billed.provider = witnessed.provider
    and billed.key_account = witnessed.key_account
left join provided on billed.key_id = provided.key_id
left join logged on billed.key_id = logged.key_id
