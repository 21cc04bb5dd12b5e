-- A variant of plain_sql.sql: an id is taken to be unique over all providers.
with once as (
    select
        started_at,
        provider,
        account,
        model,
        service_tier,
        feature_tag,
        input_uncached_tokens,
        cache_read_tokens,
        output_tokens
    from requests
    where input_uncached_tokens >= 0
    qualify row_number() over (partition by request_id order by started_at) = 1
)

select
    cast(once.started_at as date) as usage_date,
    once.feature_tag as feature,
    once.provider,
    once.account,
    once.model,
    once.service_tier,
    count(*) as requests,
    cast(sum(once.input_uncached_tokens + once.cache_read_tokens) as bigint) as input_tokens,
    cast(sum(once.cache_read_tokens) as bigint) as cached_input_tokens,
    cast(sum(once.output_tokens) as bigint) as output_tokens,
    cast(sum(once.input_uncached_tokens + once.cache_read_tokens + once.output_tokens) as bigint) as total_tokens,
    cast(
        sum(
            once.input_uncached_tokens * prices.input_pico
            + once.cache_read_tokens * prices.cache_read_pico
            + once.output_tokens * prices.output_pico
        ) as bigint
    ) as cost_pico
from once
inner join read_parquet($prices) as prices
    on
        once.provider = prices.provider
        and once.model = prices.model
        and once.started_at >= prices.valid_from
        and (prices.valid_to is null or once.started_at < prices.valid_to)
group by all
order by all
