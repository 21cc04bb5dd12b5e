/* --- toml
title = "Per closed month and provider, what is published, corrections counted to the month they correct, is what would be computed now"
severity = "fail"
inputs = ["int__feature_cost_daily", "mart__feature_cost_daily", "core__closed_months"]
--- */
with counted as (
    select
        closed.month,
        costs.provider,
        costs.requests,
        costs.input_tokens,
        costs.cached_input_tokens,
        costs.cache_write_tokens,
        costs.output_tokens,
        costs.reasoning_tokens,
        costs.total_tokens,
        costs.unpriced_tokens,
        costs.list_cost_usd,
        costs.contracted_cost_usd,
        costs.billed_cost_usd,
        costs.effective_cost_usd,
        costs.non_token_cost_usd
    from mart__feature_cost_daily as costs
    inner join core__closed_months as closed on strftime(costs.usage_date, '%Y-%m') = closed.month
    where costs.corrected_month is null
    union all
    select
        costs.corrected_month as month,
        costs.provider,
        costs.requests,
        costs.input_tokens,
        costs.cached_input_tokens,
        costs.cache_write_tokens,
        costs.output_tokens,
        costs.reasoning_tokens,
        costs.total_tokens,
        costs.unpriced_tokens,
        costs.list_cost_usd,
        costs.contracted_cost_usd,
        costs.billed_cost_usd,
        costs.effective_cost_usd,
        costs.non_token_cost_usd
    from mart__feature_cost_daily as costs
    where costs.corrected_month is not null
),

published as (
    select
        month,
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
    from counted
    group by month, provider
),

recomputed as (
    select
        closed.month,
        costs.provider,
        costs.requests,
        costs.input_tokens,
        costs.cached_input_tokens,
        costs.cache_write_tokens,
        costs.output_tokens,
        costs.reasoning_tokens,
        costs.total_tokens,
        costs.unpriced_tokens,
        costs.list_cost_usd,
        costs.contracted_cost_usd,
        costs.billed_cost_usd,
        costs.effective_cost_usd,
        costs.non_token_cost_usd
    from int__feature_cost_daily as costs
    inner join core__closed_months as closed on strftime(costs.usage_date, '%Y-%m') = closed.month
),

computed as (
    select
        month,
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
    from recomputed
    group by month, provider
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
where
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
order by month, provider
