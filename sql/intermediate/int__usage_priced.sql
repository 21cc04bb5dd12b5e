/* --- toml
title = "Every rolled-up token and meter with the price of its moment"
grain = "One row per roll-up row and component: a token leaf, a meter, `requests` (counts calls and their reasoning tokens, costs nothing) or `reported`"
key = ["usage_date", "row_number", "component"]
inputs = ["int__usage_rollup", "int__meter_rollup", "int__price_segments", "int__feature_owner"]
rules = [
    "price by event time, band and tier; the whole request is in the band of its whole prompt",
    "no price in force, in no layer, for any leaf of a roll-up row: the row is unpriced, all its tokens with it, and its cost is NULL",
    "what only a contract prices is priced: contracted cost by the contract, list cost NULL for the whole roll-up row",
    "a cost that the provider reported wins over the book and stands on the component `reported`",
    "self-hosted rows are priced by the infrastructure ledger and are never unpriced",
]
owner = "finops"
--- */
with usage as (
    select
        row_number() over (
            order by
                usage_date, segment_start, source, provider, account, model, service_tier, region, context_band_gt,
                price_basis, feature_tag, api_key_id, user_group, session_id, tags, status
        ) as row_number,
        *
    from int__usage_rollup
),

-- A price without fractions of a pico-dollar multiplies exactly as it is: rounding 128-bit products costs most of all.
prices as (
    select
        provider,
        account,
        model,
        service_tier,
        region,
        segment_start,
        component,
        prompt_tokens_gt,
        prompt_tokens_le,
        list_unit_price_usd,
        contracted_unit_price_usd,
        case
            when abs(list_unit_price_usd) >= 100000 then null
            when list_unit_price_usd = cast(list_unit_price_usd as decimal(18, 12))
                then cast(list_unit_price_usd as decimal(18, 12))
        end as whole_list_unit_price_usd,
        price_id,
        contract_id,
        normaliser,
        is_low_confidence
    from int__price_segments
),

leaves as (
    select
        row_number,
        segment_start,
        provider,
        account,
        model,
        service_tier,
        region,
        context_band_gt,
        price_basis,
        replace(leaf, '_tokens', '') as component,
        tokens
    from usage
    unpivot (
        tokens for leaf in (
            input_uncached_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
            cache_write_30m_tokens, cache_write_12h_tokens, cache_write_unknown_tokens, input_tool_use_tokens,
            embedding_input_tokens, input_audio_tokens, input_image_tokens, input_video_tokens,
            cache_read_audio_tokens, output_tokens, output_audio_tokens, output_image_tokens
        )
    )
    where tokens > 0
),

priced_leaves as (
    select
        leaves.row_number,
        leaves.provider,
        leaves.price_basis,
        leaves.component,
        leaves.tokens,
        prices.list_unit_price_usd is null as lacks_list_price,
        prices.contracted_unit_price_usd is null as lacks_price,
        case
            when prices.whole_list_unit_price_usd is not null
                then cast(cast(leaves.tokens as decimal(19, 0)) * prices.whole_list_unit_price_usd as decimal(38, 12))
            else cast(leaves.tokens * prices.list_unit_price_usd as decimal(38, 12))
        end as list_cost_usd,
        case
            when prices.contracted_unit_price_usd = prices.list_unit_price_usd then null
            else cast(leaves.tokens * prices.contracted_unit_price_usd as decimal(38, 12))
        end as own_contracted_cost_usd,
        prices.price_id,
        prices.contract_id,
        prices.normaliser,
        prices.is_low_confidence
    from leaves
    left join prices
        on leaves.provider = prices.provider
        and leaves.account = prices.account
        and leaves.model = prices.model
        and leaves.service_tier = prices.service_tier
        and leaves.region = prices.region
        and leaves.segment_start = prices.segment_start
        and leaves.component = prices.component
        and leaves.context_band_gt >= prices.prompt_tokens_gt
        and (prices.prompt_tokens_le is null or leaves.context_band_gt < prices.prompt_tokens_le)
        and leaves.price_basis = 'book'
),

gaps as (
    select
        row_number,
        max(
            case
                when price_basis = 'book' and provider <> 'self_hosted' and lacks_price then 1 else 0
            end
        ) as has_gap,
        max(
            case
                when price_basis = 'book' and provider <> 'self_hosted' and lacks_list_price then 1 else 0
            end
        ) as has_list_gap
    from priced_leaves
    group by row_number
),

token_parts as (
    select
        priced_leaves.row_number,
        priced_leaves.component,
        priced_leaves.tokens,
        cast(0 as bigint) as requests,
        cast(0 as bigint) as reasoning_tokens,
        cast(null as decimal(38, 9)) as meter_quantity,
        case
            when priced_leaves.price_basis = 'reported' then cast(0 as decimal(38, 12))
            when gaps.has_list_gap = 1 then null
            else priced_leaves.list_cost_usd
        end as list_cost_usd,
        case
            when priced_leaves.price_basis = 'reported' then cast(0 as decimal(38, 12))
            when gaps.has_gap = 1 then null
            else coalesce(priced_leaves.own_contracted_cost_usd, priced_leaves.list_cost_usd)
        end as contracted_cost_usd,
        gaps.has_gap = 1 as is_unpriced,
        priced_leaves.provider <> 'self_hosted'
        and priced_leaves.price_basis = 'book'
        and priced_leaves.lacks_price as lacks_price,
        coalesce(priced_leaves.is_low_confidence, false) as is_low_confidence,
        priced_leaves.price_id,
        priced_leaves.contract_id,
        priced_leaves.normaliser
    from priced_leaves
    inner join gaps on priced_leaves.row_number = gaps.row_number
),

reported_parts as (
    select
        row_number,
        'reported' as component,
        cast(0 as bigint) as tokens,
        cast(0 as bigint) as requests,
        cast(0 as bigint) as reasoning_tokens,
        cast(null as decimal(38, 9)) as meter_quantity,
        reported_cost_usd as list_cost_usd,
        reported_cost_usd as contracted_cost_usd,
        false as is_unpriced,
        false as lacks_price,
        false as is_low_confidence,
        'reported' as price_id,
        cast(null as varchar) as contract_id,
        cast(null as varchar) as normaliser
    from usage
    where price_basis = 'reported'
),

request_parts as (
    select
        usage.row_number,
        'requests' as component,
        cast(0 as bigint) as tokens,
        usage.requests,
        usage.reasoning_tokens,
        cast(null as decimal(38, 9)) as meter_quantity,
        case when coalesce(gaps.has_list_gap, 0) = 1 then null else cast(0 as decimal(38, 12)) end as list_cost_usd,
        case when coalesce(gaps.has_gap, 0) = 1 then null else cast(0 as decimal(38, 12)) end as contracted_cost_usd,
        coalesce(gaps.has_gap, 0) = 1 as is_unpriced,
        false as lacks_price,
        false as is_low_confidence,
        cast(null as varchar) as price_id,
        cast(null as varchar) as contract_id,
        cast(null as varchar) as normaliser
    from usage
    left join gaps on usage.row_number = gaps.row_number
),

meters as (
    select
        -row_number() over (
            order by
                usage_date, segment_start, source, provider, account, model, service_tier, region, meter,
                feature_tag, api_key_id, user_group, session_id, tags
        ) as row_number,
        *
    from int__meter_rollup
),

meter_parts as (
    select
        meters.row_number,
        meters.meter as component,
        cast(0 as bigint) as tokens,
        cast(0 as bigint) as requests,
        cast(0 as bigint) as reasoning_tokens,
        meters.quantity as meter_quantity,
        cast(meters.quantity * cast(prices.list_unit_price_usd as decimal(28, 18)) as decimal(38, 12)) as list_cost_usd,
        cast(
            meters.quantity * cast(prices.contracted_unit_price_usd as decimal(28, 18)) as decimal(38, 12)
        ) as contracted_cost_usd,
        meters.provider <> 'self_hosted' and prices.contracted_unit_price_usd is null as is_unpriced,
        meters.provider <> 'self_hosted' and prices.contracted_unit_price_usd is null as lacks_price,
        coalesce(prices.is_low_confidence, false) as is_low_confidence,
        prices.price_id,
        prices.contract_id,
        prices.normaliser
    from meters
    left join prices
        on meters.provider = prices.provider
        and meters.account = prices.account
        and meters.model = prices.model
        and meters.service_tier = prices.service_tier
        and meters.region = prices.region
        and meters.segment_start = prices.segment_start
        and meters.meter = prices.component
        and prices.prompt_tokens_gt = 0
),

parts as (
    select * from token_parts
    union all
    select * from reported_parts
    union all
    select * from request_parts
    union all
    select * from meter_parts
),

rolled_up as (
    select
        row_number,
        usage_date,
        segment_start,
        source,
        provider,
        account,
        model,
        service_tier,
        region,
        context_band_gt,
        price_basis,
        feature_tag,
        api_key_id,
        user_group,
        session_id,
        tags,
        status
    from usage
    union all
    select
        row_number,
        usage_date,
        segment_start,
        source,
        provider,
        account,
        model,
        service_tier,
        region,
        cast(0 as bigint) as context_band_gt,
        'book' as price_basis,
        feature_tag,
        api_key_id,
        user_group,
        session_id,
        tags,
        status
    from meters
),

owned as (
    select
        rolled_up.*,
        owner.feature,
        owner.team,
        owner.cost_center,
        owner.rule_priority,
        owner.rule_field,
        owner.rule_pattern
    from rolled_up
    inner join int__feature_owner as owner
        on rolled_up.usage_date = owner.usage_date
        and rolled_up.source = owner.source
        and rolled_up.account = owner.account
        and rolled_up.model = owner.model
        and rolled_up.api_key_id is not distinct from owner.api_key_id
        and rolled_up.feature_tag is not distinct from owner.feature_tag
        and rolled_up.user_group is not distinct from owner.user_group
        and rolled_up.session_id is not distinct from owner.session_id
        and rolled_up.tags is not distinct from owner.tags
)

select
    owned.row_number,
    owned.usage_date,
    owned.segment_start,
    owned.source,
    owned.feature,
    owned.team,
    owned.cost_center,
    owned.rule_priority,
    owned.rule_field,
    owned.rule_pattern,
    owned.provider,
    owned.account,
    owned.model,
    owned.service_tier,
    owned.region,
    owned.context_band_gt,
    owned.price_basis,
    owned.feature_tag,
    owned.api_key_id,
    owned.user_group,
    owned.tags,
    owned.status,
    parts.component,
    parts.tokens,
    parts.requests,
    parts.reasoning_tokens,
    parts.meter_quantity,
    parts.list_cost_usd,
    parts.contracted_cost_usd,
    parts.is_unpriced,
    parts.lacks_price,
    parts.is_low_confidence,
    parts.price_id,
    parts.contract_id,
    parts.normaliser
from parts
inner join owned on parts.row_number = owned.row_number
