/* --- toml
title = "Provider-counted tokens with the billed key that covers them"
grain = "One row per token row of int__provider_cost"
key = ["usage_date", "provider", "account", "match_model", "service_tier", "component"]
inputs = ["int__provider_cost", "int__billed_keys", "int__match_detail"]
rows_from = ["int__provider_cost"]
rules = [
    "a row belongs to the finest billed key that covers it, and to one key only; key_id is NULL where nothing was billed for it",
]
owner = "finops"
--- */
with placed as (
    select
        side.usage_date,
        side.provider,
        side.account,
        side.match_model,
        side.service_tier,
        side.component,
        side.tokens,
        side.provider_cost_usd,
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
        || side.component as level_1,
        cast(side.usage_date as varchar)
        || '|'
        || side.provider
        || '|'
        || case when detail.has_account then side.account else '*' end
        || '|'
        || side.match_model
        || '|*|'
        || side.component as level_2,
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
    from int__provider_cost as side
    left join int__match_detail as detail
        on side.usage_date = detail.usage_date and side.provider = detail.provider
    where
        not side.is_meter
        and not (side.provider = 'anthropic' and side.service_tier = 'priority')
)

select
    placed.usage_date,
    placed.provider,
    placed.account,
    placed.match_model,
    placed.service_tier,
    placed.component,
    placed.tokens,
    placed.provider_cost_usd,
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
