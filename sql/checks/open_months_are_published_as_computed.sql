/* --- toml
title = "Per open month and provider, what is published is what is computed"
severity = "fail"
inputs = ["int__feature_cost_daily", "mart__feature_cost_daily", "core__closed_months"]
partition = "month"
--- */
with published as (
    select
        strftime(usage_date, '%Y-%m') as month,
        provider,
        coalesce(sum(requests), 0) as requests,
        coalesce(sum(input_tokens), 0) as input_tokens,
        coalesce(sum(cached_input_tokens), 0) as cached_input_tokens,
        coalesce(sum(cache_write_tokens), 0) as cache_write_tokens,
        coalesce(sum(output_tokens), 0) as output_tokens,
        coalesce(sum(reasoning_tokens), 0) as reasoning_tokens,
        coalesce(sum(total_tokens), 0) as total_tokens,
        coalesce(sum(unpriced_tokens), 0) as unpriced_tokens,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(non_token_cost_usd), 0) as non_token_cost_usd
    from mart__feature_cost_daily
    where corrected_month is null
    group by strftime(usage_date, '%Y-%m'), provider
),

computed as (
    select
        strftime(usage_date, '%Y-%m') as month,
        provider,
        coalesce(sum(requests), 0) as requests,
        coalesce(sum(input_tokens), 0) as input_tokens,
        coalesce(sum(cached_input_tokens), 0) as cached_input_tokens,
        coalesce(sum(cache_write_tokens), 0) as cache_write_tokens,
        coalesce(sum(output_tokens), 0) as output_tokens,
        coalesce(sum(reasoning_tokens), 0) as reasoning_tokens,
        coalesce(sum(total_tokens), 0) as total_tokens,
        coalesce(sum(unpriced_tokens), 0) as unpriced_tokens,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(non_token_cost_usd), 0) as non_token_cost_usd
    from int__feature_cost_daily
    group by strftime(usage_date, '%Y-%m'), provider
)

select
    coalesce(published.month, computed.month) as month,
    coalesce(published.provider, computed.provider) as provider,
    published.total_tokens as published_tokens,
    computed.total_tokens as computed_tokens,
    published.billed_cost_usd as published_billed_cost_usd,
    computed.billed_cost_usd as computed_billed_cost_usd,
    published.effective_cost_usd as published_effective_cost_usd,
    computed.effective_cost_usd as computed_effective_cost_usd
from published
full outer join computed on published.month = computed.month and published.provider = computed.provider
left join core__closed_months as closed on coalesce(published.month, computed.month) = closed.month
where
    closed.month is null
    and (
        coalesce(published.requests, 0) <> coalesce(computed.requests, 0)
        or coalesce(published.input_tokens, 0) <> coalesce(computed.input_tokens, 0)
        or coalesce(published.cached_input_tokens, 0) <> coalesce(computed.cached_input_tokens, 0)
        or coalesce(published.cache_write_tokens, 0) <> coalesce(computed.cache_write_tokens, 0)
        or coalesce(published.output_tokens, 0) <> coalesce(computed.output_tokens, 0)
        or coalesce(published.reasoning_tokens, 0) <> coalesce(computed.reasoning_tokens, 0)
        or coalesce(published.total_tokens, 0) <> coalesce(computed.total_tokens, 0)
        or coalesce(published.unpriced_tokens, 0) <> coalesce(computed.unpriced_tokens, 0)
        or coalesce(published.list_cost_usd, 0) <> coalesce(computed.list_cost_usd, 0)
        or coalesce(published.contracted_cost_usd, 0) <> coalesce(computed.contracted_cost_usd, 0)
        or coalesce(published.billed_cost_usd, 0) <> coalesce(computed.billed_cost_usd, 0)
        or coalesce(published.effective_cost_usd, 0) <> coalesce(computed.effective_cost_usd, 0)
        or coalesce(published.non_token_cost_usd, 0) <> coalesce(computed.non_token_cost_usd, 0)
    )
order by month, provider
