-- A variant of plain_sql.sql: duplicates are found by GROUP BY. Which of several is kept is not said.
with once as (
    select
        provider,
        request_id,
        any_value(started_at) as started_at,
        any_value(account) as account,
        any_value(model) as model,
        any_value(service_tier) as service_tier,
        any_value(feature_tag) as feature_tag,
        any_value(input_uncached_tokens) as input_uncached_tokens,
        any_value(cache_read_tokens) as cache_read_tokens,
        any_value(output_tokens) as output_tokens
    from requests
    where input_uncached_tokens >= 0
    group by provider, request_id
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
