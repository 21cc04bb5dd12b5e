/* --- toml
title = "Every rolled-up token and meter with the price of its moment"
grain = "One row per roll-up row and component: a token leaf, a meter, `requests` (counts calls and their reasoning tokens, costs nothing) or `reported`"
key = ["row_number", "component"]
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

leaves as (
    select
        row_number,
        leaf,
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
),

leaf_rows as (
    select
        usage.row_number,
        usage.usage_date,
        usage.segment_start,
        usage.source,
        usage.provider,
        usage.account,
        usage.model,
        usage.service_tier,
        usage.region,
        usage.context_band_gt,
        usage.price_basis,
        usage.feature_tag,
        usage.api_key_id,
        usage.user_group,
        usage.session_id,
        usage.tags,
        usage.status,
        replace(leaves.leaf, '_tokens', '') as component,
        leaves.tokens
    from leaves
    inner join usage on leaves.row_number = usage.row_number
    where leaves.tokens > 0
),

priced_leaves as (
    select
        leaf_rows.*,
        prices.list_unit_price_usd,
        prices.contracted_unit_price_usd,
        prices.price_id,
        prices.contract_id,
        prices.normaliser,
        prices.is_low_confidence
    from leaf_rows
    left join int__price_segments as prices
        on leaf_rows.provider = prices.provider
        and leaf_rows.account = prices.account
        and leaf_rows.model = prices.model
        and leaf_rows.service_tier = prices.service_tier
        and leaf_rows.region = prices.region
        and leaf_rows.segment_start = prices.segment_start
        and leaf_rows.component = prices.component
        and leaf_rows.context_band_gt >= prices.prompt_tokens_gt
        and (prices.prompt_tokens_le is null or leaf_rows.context_band_gt < prices.prompt_tokens_le)
        and leaf_rows.price_basis = 'book'
),

gaps as (
    select
        row_number,
        max(
            case
                when price_basis = 'book' and provider <> 'self_hosted' and contracted_unit_price_usd is null then 1
                else 0
            end
        ) as has_gap,
        max(
            case
                when price_basis = 'book' and provider <> 'self_hosted' and list_unit_price_usd is null then 1 else 0
            end
        ) as has_list_gap
    from priced_leaves
    group by row_number
),

token_rows as (
    select
        priced_leaves.row_number,
        priced_leaves.usage_date,
        priced_leaves.segment_start,
        priced_leaves.source,
        priced_leaves.provider,
        priced_leaves.account,
        priced_leaves.model,
        priced_leaves.service_tier,
        priced_leaves.region,
        priced_leaves.context_band_gt,
        priced_leaves.price_basis,
        priced_leaves.feature_tag,
        priced_leaves.api_key_id,
        priced_leaves.user_group,
        priced_leaves.session_id,
        priced_leaves.tags,
        priced_leaves.status,
        priced_leaves.component,
        priced_leaves.tokens,
        cast(0 as bigint) as requests,
        cast(0 as bigint) as reasoning_tokens,
        cast(null as decimal(38, 9)) as meter_quantity,
        case
            when priced_leaves.price_basis = 'reported' then cast(0 as decimal(38, 12))
            when gaps.has_list_gap = 1 then null
            else cast(priced_leaves.tokens * priced_leaves.list_unit_price_usd as decimal(38, 12))
        end as list_cost_usd,
        case
            when priced_leaves.price_basis = 'reported' then cast(0 as decimal(38, 12))
            when gaps.has_gap = 1 then null
            else cast(priced_leaves.tokens * priced_leaves.contracted_unit_price_usd as decimal(38, 12))
        end as contracted_cost_usd,
        gaps.has_gap = 1 as is_unpriced,
        priced_leaves.provider <> 'self_hosted'
        and priced_leaves.price_basis = 'book'
        and priced_leaves.contracted_unit_price_usd is null as lacks_price,
        coalesce(priced_leaves.is_low_confidence, false) as is_low_confidence,
        priced_leaves.price_id,
        priced_leaves.contract_id,
        priced_leaves.normaliser
    from priced_leaves
    inner join gaps on priced_leaves.row_number = gaps.row_number
),

reported_rows as (
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
        status,
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

request_rows as (
    select
        usage.row_number,
        usage.usage_date,
        usage.segment_start,
        usage.source,
        usage.provider,
        usage.account,
        usage.model,
        usage.service_tier,
        usage.region,
        usage.context_band_gt,
        usage.price_basis,
        usage.feature_tag,
        usage.api_key_id,
        usage.user_group,
        usage.session_id,
        usage.tags,
        usage.status,
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

meter_rows as (
    select
        meters.row_number,
        meters.usage_date,
        meters.segment_start,
        meters.source,
        meters.provider,
        meters.account,
        meters.model,
        meters.service_tier,
        meters.region,
        cast(0 as bigint) as context_band_gt,
        'book' as price_basis,
        meters.feature_tag,
        meters.api_key_id,
        meters.user_group,
        meters.session_id,
        meters.tags,
        meters.status,
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
    left join int__price_segments as prices
        on meters.provider = prices.provider
        and meters.account = prices.account
        and meters.model = prices.model
        and meters.service_tier = prices.service_tier
        and meters.region = prices.region
        and meters.segment_start = prices.segment_start
        and meters.meter = prices.component
        and prices.prompt_tokens_gt = 0
),

everything as (
    select * from token_rows
    union all
    select * from reported_rows
    union all
    select * from request_rows
    union all
    select * from meter_rows
)

select
    everything.row_number,
    everything.usage_date,
    everything.segment_start,
    everything.source,
    owner.feature,
    owner.team,
    owner.cost_center,
    owner.rule_priority,
    owner.rule_field,
    owner.rule_pattern,
    everything.provider,
    everything.account,
    everything.model,
    everything.service_tier,
    everything.region,
    everything.context_band_gt,
    everything.price_basis,
    everything.feature_tag,
    everything.api_key_id,
    everything.user_group,
    everything.tags,
    everything.status,
    everything.component,
    everything.tokens,
    everything.requests,
    everything.reasoning_tokens,
    everything.meter_quantity,
    everything.list_cost_usd,
    everything.contracted_cost_usd,
    everything.is_unpriced,
    everything.lacks_price,
    everything.is_low_confidence,
    everything.price_id,
    everything.contract_id,
    everything.normaliser
from everything
inner join int__feature_owner as owner
    on everything.usage_date = owner.usage_date
    and everything.source = owner.source
    and everything.account = owner.account
    and everything.model = owner.model
    and everything.api_key_id is not distinct from owner.api_key_id
    and everything.feature_tag is not distinct from owner.feature_tag
    and everything.user_group is not distinct from owner.user_group
    and everything.session_id is not distinct from owner.session_id
    and everything.tags is not distinct from owner.tags
order by everything.usage_date, everything.row_number, everything.component
