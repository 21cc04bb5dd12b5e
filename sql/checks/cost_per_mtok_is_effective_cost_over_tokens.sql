/* --- toml
title = "Cost per million tokens is effective cost times 10^6 over tokens, NULL where there are no tokens or no cost"
severity = "fail"
inputs = ["mart__feature_cost_daily", "mart__feature_cost_monthly"]
partition = "month"
--- */
/* One DOUBLE division and one rounding to 12 digits stand between sum and ratio: 10^-12 dollars and 10^-14 of the ratio
are allowed, far below the last digit that anybody pays. */
with stored as (
    select
        'mart__feature_cost_daily' as mart,
        cast(usage_date as varchar) as period,
        feature,
        effective_cost_usd,
        total_tokens,
        output_tokens,
        cost_per_mtok_usd,
        cost_per_mtok_output_usd
    from mart__feature_cost_daily
    where charge_class is null
    union all
    select
        'mart__feature_cost_monthly' as mart,
        month as period,
        feature,
        effective_cost_usd,
        total_tokens,
        output_tokens,
        cost_per_mtok_usd,
        cost_per_mtok_output_usd
    from mart__feature_cost_monthly
),

ratios as (
    select
        mart,
        period,
        feature,
        'total' as tokens_of,
        effective_cost_usd,
        total_tokens as tokens,
        cost_per_mtok_usd as ratio_usd
    from stored
    union all
    select
        mart,
        period,
        feature,
        'output' as tokens_of,
        effective_cost_usd,
        output_tokens as tokens,
        cost_per_mtok_output_usd as ratio_usd
    from stored
),

compared as (
    select
        mart,
        period,
        feature,
        tokens_of,
        effective_cost_usd,
        tokens,
        ratio_usd,
        cast(effective_cost_usd as double) * 1000000 / nullif(tokens, 0) as exact_ratio
    from ratios
)

select
    mart,
    period,
    feature,
    tokens_of,
    effective_cost_usd,
    tokens,
    ratio_usd
from compared
where
    (ratio_usd is null) <> (exact_ratio is null)
    or abs(cast(ratio_usd as double) - exact_ratio) > 0.000000000001 + abs(exact_ratio) * 0.00000000000001
order by mart, period, feature, tokens_of
