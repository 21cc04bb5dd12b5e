-- The product's daily feature table in the columns of the comparison: owners are summed over, nothing else is.
select
    usage_date,
    feature,
    provider,
    account,
    model,
    service_tier,
    cast(sum(requests) as bigint) as requests,
    cast(sum(input_tokens) as bigint) as input_tokens,
    cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(total_tokens) as bigint) as total_tokens,
    cast(sum(list_cost_usd) * 1000000000000 as bigint) as cost_pico
from mart__feature_cost_daily
where total_tokens > 0 or requests > 0
group by all
order by all
