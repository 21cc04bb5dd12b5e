/* --- toml
title = "Logged tokens with the billed key that covers them"
grain = "One row per row of int__usage_cost that tokens or a reported cost stand behind, where its provider's bills are known"
key = ["usage_date", "feature", "team", "cost_center", "provider", "account", "model", "service_tier", "status", "component", "is_unpriced"]
inputs = ["int__usage_cost", "int__billed_keys", "int__match_detail", "int__bill_lines", "int__bill_coverage"]
rows_from = ["int__bill_lines", "int__bill_coverage"]
rules = [
    "only providers whose bills of the month are known at all: elsewhere there is nothing to compare with",
    "a row belongs to the finest billed key that covers it, and to one key only; key_id is NULL where nothing was billed for it",
    "failed and blocked requests, and tiers that the bill leaves out by rule (Anthropic priority), are not compared",
]
owner = "finops"
--- */
with billing_providers as (
    select provider from int__bill_lines
    union
    select provider from int__bill_coverage
),

placed as (
    select
        side.usage_date,
        side.feature,
        side.team,
        side.cost_center,
        side.provider,
        side.account,
        side.model,
        side.match_model,
        side.service_tier,
        side.status,
        side.component,
        side.match_component,
        side.is_unpriced,
        side.tokens,
        side.contracted_cost_usd,
        cast(side.usage_date as varchar)
        || '|'
        || side.provider
        || '|'
        || case when detail.has_account then side.account else '*' end
        || '|'
        || side.match_model
        || '|'
        || side.service_tier
        || '|'
        || side.match_component as level_1,
        cast(side.usage_date as varchar)
        || '|'
        || side.provider
        || '|'
        || case when detail.has_account then side.account else '*' end
        || '|'
        || side.match_model
        || '|*|'
        || side.match_component as level_2,
        cast(side.usage_date as varchar)
        || '|'
        || side.provider
        || '|'
        || case when detail.has_account then side.account else '*' end
        || '|'
        || side.match_model
        || '|'
        || side.service_tier
        || '|*' as level_3,
        cast(side.usage_date as varchar)
        || '|'
        || side.provider
        || '|'
        || case when detail.has_account then side.account else '*' end
        || '|'
        || side.match_model
        || '|*|*' as level_4,
        cast(side.usage_date as varchar)
        || '|'
        || side.provider
        || '|'
        || case when detail.has_account then side.account else '*' end
        || '|*|*|*' as level_5
    from int__usage_cost as side
    inner join billing_providers as billing on side.provider = billing.provider
    left join int__match_detail as detail
        on side.usage_date = detail.usage_date and side.provider = detail.provider
    where
        side.status not in ('failure', 'blocked')
        and not (side.provider = 'anthropic' and side.service_tier = 'priority')
        and side.meter_quantity is null
        and side.component <> 'requests'
)

select
    placed.usage_date,
    placed.feature,
    placed.team,
    placed.cost_center,
    placed.provider,
    placed.account,
    placed.model,
    placed.match_model,
    placed.service_tier,
    placed.status,
    placed.component,
    placed.match_component,
    placed.is_unpriced,
    placed.tokens,
    placed.contracted_cost_usd,
    coalesce(key_1.key_id, key_2.key_id, key_3.key_id, key_4.key_id, key_5.key_id) as key_id,
    cast(
        coalesce(
            key_1.match_level, key_2.match_level, key_3.match_level, key_4.match_level, key_5.match_level
        ) as integer
    ) as match_level
from placed
left join int__billed_keys as key_1 on placed.level_1 = key_1.key_id
left join int__billed_keys as key_2 on placed.level_2 = key_2.key_id
left join int__billed_keys as key_3 on placed.level_3 = key_3.key_id
left join int__billed_keys as key_4 on placed.level_4 = key_4.key_id
left join int__billed_keys as key_5 on placed.level_5 = key_5.key_id
