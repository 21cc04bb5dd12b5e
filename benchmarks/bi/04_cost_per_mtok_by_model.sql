-- What a million tokens of each model cost in the last twelve months.
select
    model,
    sum(total_tokens) as total_tokens,
    sum(effective_cost_usd) as effective_cost_usd,
    cast(sum(effective_cost_usd) as double) * 1000000 / nullif(sum(total_tokens), 0) as cost_per_mtok_usd,
    cast(sum(effective_cost_usd) as double) * 1000000 / nullif(sum(output_tokens), 0) as cost_per_mtok_output_usd
from mart__feature_cost_daily
where usage_date between date '2025-12-01' and date '2026-11-29'
group by model
order by effective_cost_usd desc
