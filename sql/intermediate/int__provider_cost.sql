/* --- toml
title = "The provider's own counts at contracted price"
grain = "One row per UTC day, provider, account, model, tier and component of the provider's usage API"
key = ["usage_date", "provider", "account", "match_model", "service_tier", "component", "is_meter"]
inputs = ["core__provider_usage", "int__price_segments", "int__model_names"]
rows_from = ["core__provider_usage"]
rules = [
    "buckets are priced at the price in force when they start; account and model `*` mean any",
    "a component without a price has NULL cost and keeps its tokens",
]
owner = "finops"
--- */
with usage as (
    select
        usage_date,
        bucket_start,
        provider,
        account,
        model,
        service_tier,
        region,
        case
            when context_band = '200k-1M' then cast(200000 as bigint)
            else cast(0 as bigint)
        end as context_band_gt,
        meter,
        quantity,
        input_uncached_tokens,
        cache_read_tokens,
        cache_write_5m_tokens,
        cache_write_1h_tokens,
        cache_write_30m_tokens,
        cache_write_12h_tokens,
        cache_write_unknown_tokens,
        input_tool_use_tokens,
        embedding_input_tokens,
        input_audio_tokens,
        input_image_tokens,
        input_video_tokens,
        cache_read_audio_tokens,
        output_tokens,
        output_audio_tokens,
        output_image_tokens
    from core__provider_usage
),

leaves as (
    select
        usage_date,
        bucket_start,
        provider,
        account,
        model,
        service_tier,
        region,
        context_band_gt,
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
    where tokens > 0 and meter is null
),

meters as (
    select
        usage_date,
        bucket_start,
        provider,
        account,
        model,
        service_tier,
        region,
        context_band_gt,
        meter as component,
        quantity
    from usage
    where meter is not null and quantity > 0
),

sides as (
    select
        usage_date,
        bucket_start,
        provider,
        account,
        model,
        service_tier,
        region,
        context_band_gt,
        component,
        tokens,
        cast(null as decimal(38, 9)) as meter_quantity
    from leaves
    union all
    select
        usage_date,
        bucket_start,
        provider,
        account,
        model,
        service_tier,
        region,
        context_band_gt,
        component,
        cast(0 as bigint) as tokens,
        quantity as meter_quantity
    from meters
),

priced as (
    select
        sides.usage_date,
        sides.provider,
        sides.account,
        case when sides.model = '*' then '*' else coalesce(names.match_model, sides.model) end as match_model,
        sides.service_tier,
        sides.component,
        sides.tokens,
        sides.meter_quantity,
        case
            when sides.meter_quantity is null
                then cast(sides.tokens * prices.contracted_unit_price_usd as decimal(38, 12))
            else cast(
                sides.meter_quantity * cast(prices.contracted_unit_price_usd as decimal(28, 18)) as decimal(38, 12)
            )
        end as provider_cost_usd
    from sides
    left join int__price_segments as prices
        on sides.provider = prices.provider
        and sides.account = prices.account
        and sides.model = prices.model
        and sides.service_tier = prices.service_tier
        and sides.region = prices.region
        and sides.bucket_start = prices.segment_start
        and sides.component = prices.component
        and sides.context_band_gt >= prices.prompt_tokens_gt
        and (prices.prompt_tokens_le is null or sides.context_band_gt < prices.prompt_tokens_le)
    left join int__model_names as names
        on sides.provider = names.provider
        and sides.model = names.model
        and (names.valid_from is null or cast(names.valid_from as date) <= sides.usage_date)
        and (names.valid_to is null or cast(names.valid_to as date) > sides.usage_date)
)

select
    usage_date,
    provider,
    account,
    match_model,
    service_tier,
    component,
    meter_quantity is not null as is_meter,
    cast(sum(tokens) as bigint) as tokens,
    cast(sum(meter_quantity) as decimal(38, 9)) as meter_quantity,
    cast(
        case when count(provider_cost_usd) = count(*) then sum(provider_cost_usd) end as decimal(38, 12)
    ) as provider_cost_usd
from priced
group by usage_date, provider, account, match_model, service_tier, component, meter_quantity is not null
