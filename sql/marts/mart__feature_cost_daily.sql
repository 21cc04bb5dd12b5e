/* --- toml
title = "What each feature cost per UTC day, and per million tokens"
grain = "One row per UTC day, feature, team, cost center, provider, account, model, service tier and correction"
key = ["usage_date", "feature", "team", "cost_center", "provider", "account", "model", "service_tier", "charge_class", "corrected_month"]
inputs = ["int__feature_cost_daily", "int__corrections", "core__closed_costs", "core__closed_months", "int__bill_clock"]
rules = [
    "an open month is as int__feature_cost_daily computes it now, a closed month as it was frozen when it was closed",
    "what has changed in a closed month since stands in rows of charge_class Correction on the first day of the first open month after it",
    "frozen rows plus corrections are the closed month recomputed, for every count and every cost",
    "list and contracted cost price the logged tokens, list cost NULL where a priced part has no public price; billed cost is the row's share of the bill; effective cost is that share where the bill is complete, else contracted cost",
    "cost_per_mtok_usd is one stored sum times 10^6 over another, NULL at zero tokens and on corrections; never average it",
]
owner = "finops"
--- */
with open_days as (
    select
        computed.usage_date,
        computed.feature,
        computed.team,
        computed.cost_center,
        computed.provider,
        computed.account,
        computed.model,
        computed.service_tier,
        computed.requests,
        computed.input_tokens,
        computed.cached_input_tokens,
        computed.cache_write_tokens,
        computed.output_tokens,
        computed.reasoning_tokens,
        computed.total_tokens,
        computed.unpriced_tokens,
        computed.list_cost_usd,
        computed.contracted_cost_usd,
        computed.billed_cost_usd,
        computed.effective_cost_usd,
        computed.non_token_cost_usd,
        computed.cost_status,
        computed.cost_per_mtok_usd,
        computed.cost_per_mtok_output_usd
    from int__feature_cost_daily as computed
    left join core__closed_months as closed on strftime(computed.usage_date, '%Y-%m') = closed.month
    where closed.month is null
),

corrections as (
    select
        cast(changes.posting_month || '-01' as date) as usage_date,
        changes.feature,
        changes.team,
        changes.cost_center,
        changes.provider,
        changes.account,
        changes.model,
        changes.service_tier,
        changes.requests,
        changes.input_tokens,
        changes.cached_input_tokens,
        changes.cache_write_tokens,
        changes.output_tokens,
        changes.reasoning_tokens,
        changes.total_tokens,
        changes.unpriced_tokens,
        changes.list_cost_usd,
        changes.contracted_cost_usd,
        changes.billed_cost_usd,
        changes.effective_cost_usd,
        changes.non_token_cost_usd,
        changes.month
    from int__corrections as changes
    inner join int__bill_clock as clock on changes.posting_month = clock.month
),

everything as (
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        requests,
        input_tokens,
        cached_input_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
        total_tokens,
        unpriced_tokens,
        list_cost_usd,
        contracted_cost_usd,
        billed_cost_usd,
        effective_cost_usd,
        non_token_cost_usd,
        cost_status,
        cost_per_mtok_usd,
        cost_per_mtok_output_usd,
        cast(null as varchar) as charge_class,
        cast(null as varchar) as corrected_month
    from open_days
    union all
    select
        frozen.usage_date,
        frozen.feature,
        frozen.team,
        frozen.cost_center,
        frozen.provider,
        frozen.account,
        frozen.model,
        frozen.service_tier,
        frozen.requests,
        frozen.input_tokens,
        frozen.cached_input_tokens,
        frozen.cache_write_tokens,
        frozen.output_tokens,
        frozen.reasoning_tokens,
        frozen.total_tokens,
        frozen.unpriced_tokens,
        frozen.list_cost_usd,
        frozen.contracted_cost_usd,
        frozen.billed_cost_usd,
        frozen.effective_cost_usd,
        frozen.non_token_cost_usd,
        frozen.cost_status,
        frozen.cost_per_mtok_usd,
        frozen.cost_per_mtok_output_usd,
        frozen.charge_class,
        frozen.corrected_month
    from core__closed_costs as frozen
    inner join core__closed_months as closed on strftime(frozen.usage_date, '%Y-%m') = closed.month
    union all
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        requests,
        input_tokens,
        cached_input_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
        total_tokens,
        unpriced_tokens,
        list_cost_usd,
        contracted_cost_usd,
        billed_cost_usd,
        effective_cost_usd,
        non_token_cost_usd,
        'provisional' as cost_status,
        cast(null as decimal(38, 12)) as cost_per_mtok_usd,
        cast(null as decimal(38, 12)) as cost_per_mtok_output_usd,
        'Correction' as charge_class,
        month as corrected_month
    from corrections
)

select
    usage_date,
    feature,
    team,
    cost_center,
    provider,
    account,
    model,
    service_tier,
    requests,
    input_tokens,
    cached_input_tokens,
    cache_write_tokens,
    output_tokens,
    reasoning_tokens,
    total_tokens,
    unpriced_tokens,
    list_cost_usd,
    contracted_cost_usd,
    billed_cost_usd,
    effective_cost_usd,
    non_token_cost_usd,
    cost_status,
    cost_per_mtok_usd,
    cost_per_mtok_output_usd,
    charge_class,
    corrected_month
from everything
