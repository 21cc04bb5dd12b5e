-- A variant of plain_sql.sql: sums per price interval first, priced afterwards.
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
    qualify row_number() over (partition by provider, request_id order by started_at) = 1
),

sums as (
    select
        cast(once.started_at as date) as usage_date,
        once.feature_tag as feature,
        once.provider,
        once.account,
        once.model,
        once.service_tier,
        prices.valid_from,
        count(*) as requests,
        sum(once.input_uncached_tokens) as input_uncached_tokens,
        sum(once.cache_read_tokens) as cache_read_tokens,
        sum(once.output_tokens) as output_tokens
    from once
    inner join read_parquet($prices) as prices
        on
            once.provider = prices.provider
            and once.model = prices.model
            and once.started_at >= prices.valid_from
            and (prices.valid_to is null or once.started_at < prices.valid_to)
    group by all
)

select
    sums.usage_date,
    sums.feature,
    sums.provider,
    sums.account,
    sums.model,
    sums.service_tier,
    cast(sum(sums.requests) as bigint) as requests,
    cast(sum(sums.input_uncached_tokens + sums.cache_read_tokens) as bigint) as input_tokens,
    cast(sum(sums.cache_read_tokens) as bigint) as cached_input_tokens,
    cast(sum(sums.output_tokens) as bigint) as output_tokens,
    cast(sum(sums.input_uncached_tokens + sums.cache_read_tokens + sums.output_tokens) as bigint) as total_tokens,
    cast(
        sum(
            sums.input_uncached_tokens * prices.input_pico
            + sums.cache_read_tokens * prices.cache_read_pico
            + sums.output_tokens * prices.output_pico
        ) as bigint
    ) as cost_pico
from sums
inner join read_parquet($prices) as prices
    on
        sums.provider = prices.provider
        and sums.model = prices.model
        and sums.valid_from = prices.valid_from
group by all
order by all
