-- One feature, day by day and model by model, over the last twelve months.
select
    usage_date,
    provider,
    model,
    service_tier,
    sum(requests) as requests,
    sum(input_tokens) as input_tokens,
    sum(cached_input_tokens) as cached_input_tokens,
    sum(output_tokens) as output_tokens,
    sum(effective_cost_usd) as effective_cost_usd
from mart__feature_cost_daily
where feature = 'feature-123' and usage_date between date '2025-12-01' and date '2026-11-29'
group by usage_date, provider, model, service_tier
order by usage_date, provider, model, service_tier
