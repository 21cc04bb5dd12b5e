/* --- toml
title = "Every dollar between metered and billed cost, with its cause"
grain = "One row per UTC day, provider, account, cause and what it comes from"
key = ["usage_date", "provider", "account", "cause", "evidence"]
inputs = ["int__token_claims", "int__logged_keyed", "int__usage_cost", "int__bill_lines", "int__bill_coverage", "int__match_detail"]
rows_from = ["int__token_claims", "int__logged_keyed", "int__bill_lines", "int__bill_coverage"]
rules = [
    "only providers whose bills of the month are known at all: elsewhere nothing is billed that metered could lead to",
    "each bill line and each logged amount is consumed once, before any netting, so that causes sum to billed minus metered",
    "order: lines of other kinds; keys without a price; logged usage that nothing was billed for; price, unlogged and overlogged per key",
    "a price gap counts as one while billed is 0.5 to 1.25 times what it is compared with; outside, the difference is unexplained",
    "a key that is billed 0 and has an effective cost was paid by a commitment: its difference is the commitment's, as purchases are",
    "without provider usage a bill above 1.02 times logged cost is unlogged, unless it is near 100 or 1,000 times as much",
    "an account is `*` where a side does not know accounts that day",
]
owner = "finops"
--- */
with keys as (
    select
        key_id,
        usage_date,
        provider,
        key_account,
        max(billed_cost_usd) as billed_used_rate_usd,
        max(billed_cost_at_invoice_rate_usd) as billed_usd,
        max(effective_cost_usd) as effective_usd,
        max(case when has_provider_usage then 1 else 0 end) as has_provider_usage,
        max(case when provider_tokens is not null and provider_cost_usd is null then 1 else 0 end) as provider_unpriced,
        max(provider_cost_usd) as provider_usd,
        coalesce(sum(contracted_cost_usd), cast(0 as decimal(38, 12))) as logged_usd,
        max(case when unpriced_tokens > 0 then 1 else 0 end) as logged_unpriced
    from int__token_claims
    group by key_id, usage_date, provider, key_account
),

compared as (
    select
        key_id,
        usage_date,
        provider,
        key_account,
        billed_used_rate_usd,
        billed_usd,
        effective_usd,
        logged_usd,
        has_provider_usage,
        case when provider_unpriced = 1 or logged_unpriced = 1 then 1 else 0 end as is_unpriced,
        coalesce(provider_usd, cast(0 as decimal(38, 12))) as provider_usd,
        case
            when has_provider_usage = 1 then coalesce(provider_usd, cast(0 as decimal(38, 12)))
            else logged_usd
        end as reference_usd
    from keys
),

judged as (
    select
        key_id,
        usage_date,
        provider,
        key_account,
        billed_used_rate_usd,
        billed_usd,
        logged_usd,
        provider_usd,
        case
            when is_unpriced = 1 then 'unpriced'
            when billed_usd = 0 and effective_usd > 0 then 'committed'
            when
                reference_usd > 0
                and (
                    (billed_usd >= 90 * reference_usd and billed_usd <= 110 * reference_usd)
                    or (billed_usd >= 900 * reference_usd and billed_usd <= 1100 * reference_usd)
                    or (billed_usd * 1000 >= 9 * reference_usd and billed_usd * 1000 <= 11 * reference_usd)
                    or (billed_usd * 10000 >= 9 * reference_usd and billed_usd * 10000 <= 11 * reference_usd)
                )
                then 'unit_suspect'
            when
                has_provider_usage = 1
                and billed_usd * 100 >= 50 * reference_usd
                and billed_usd * 100 <= 125 * reference_usd
                then 'with_usage'
            when has_provider_usage = 1 and reference_usd = 0 and logged_usd = 0 then 'nobody_logged'
            when has_provider_usage = 1 then 'price_suspect_with_usage'
            when logged_usd = 0 then 'nobody_logged'
            when billed_usd * 100 > 102 * logged_usd then 'above_log'
            when billed_usd * 100 >= 50 * logged_usd then 'discount'
            else 'price_suspect'
        end as verdict,
        has_provider_usage
    from compared
),

token_effects as (
    select
        usage_date,
        provider,
        key_account,
        'unpriced' as cause,
        key_id as evidence,
        billed_usd - logged_usd as amount_usd
    from judged
    where verdict = 'unpriced'
    union all
    select
        usage_date,
        provider,
        key_account,
        'price_gap' as cause,
        key_id as evidence,
        billed_usd - provider_usd as amount_usd
    from judged
    where verdict = 'with_usage'
    union all
    select
        usage_date,
        provider,
        key_account,
        'commitment' as cause,
        key_id as evidence,
        case when has_provider_usage = 1 then billed_usd - provider_usd else billed_usd - logged_usd end as amount_usd
    from judged
    where verdict = 'committed'
    union all
    select
        usage_date,
        provider,
        key_account,
        case verdict when 'unit_suspect' then 'unexplained:unit_suspect' else 'unexplained:price_suspect' end as cause,
        key_id as evidence,
        billed_usd - provider_usd as amount_usd
    from judged
    where verdict in ('unit_suspect', 'price_suspect_with_usage') and has_provider_usage = 1
    union all
    select
        usage_date,
        provider,
        key_account,
        'unlogged' as cause,
        key_id as evidence,
        greatest(provider_usd - logged_usd, 0) as amount_usd
    from judged
    where has_provider_usage = 1 and verdict in ('with_usage', 'unit_suspect', 'price_suspect_with_usage', 'committed')
    union all
    select
        usage_date,
        provider,
        key_account,
        'overlogged' as cause,
        key_id as evidence,
        least(provider_usd - logged_usd, 0) as amount_usd
    from judged
    where has_provider_usage = 1 and verdict in ('with_usage', 'unit_suspect', 'price_suspect_with_usage', 'committed')
    union all
    select
        usage_date,
        provider,
        key_account,
        case verdict
            when 'unit_suspect' then 'unexplained:unit_suspect'
            when 'price_suspect' then 'unexplained:price_suspect'
            when 'discount' then 'price_gap'
            else 'unlogged'
        end as cause,
        key_id as evidence,
        billed_usd - logged_usd as amount_usd
    from judged
    where
        (
            has_provider_usage = 0
            and verdict in ('unit_suspect', 'price_suspect', 'discount', 'above_log', 'nobody_logged')
        )
        or (has_provider_usage = 1 and verdict = 'nobody_logged')
    union all
    select
        usage_date,
        provider,
        key_account,
        'fx' as cause,
        key_id as evidence,
        billed_used_rate_usd - billed_usd as amount_usd
    from judged
),

billing_providers as (
    select provider from int__bill_lines
    union
    select provider from int__bill_coverage
),

usage as (
    select
        costs.usage_date,
        costs.provider,
        case when detail.has_account is null or detail.has_account then costs.account else '*' end as key_account,
        costs.account,
        costs.feature,
        costs.model,
        costs.service_tier,
        costs.status,
        costs.component,
        costs.meter_quantity is not null as is_meter,
        costs.contracted_cost_usd
    from int__usage_cost as costs
    inner join billing_providers as billing on costs.provider = billing.provider
    left join int__match_detail as detail
        on costs.usage_date = detail.usage_date and costs.provider = detail.provider
    where costs.contracted_cost_usd is not null and costs.provider <> 'self_hosted'
),

accounts as (
    select
        usage_date,
        provider,
        key_account
    from usage
    union
    select
        usage_date,
        provider,
        key_account
    from keys
),

covered as (
    select distinct
        accounts.usage_date,
        accounts.provider,
        accounts.key_account
    from accounts
    inner join int__bill_coverage as coverage
        on accounts.usage_date = coverage.usage_date
        and accounts.provider = coverage.provider
        and (
            coverage.account = accounts.key_account
            or coverage.account = '*'
            or accounts.key_account in ('*', 'default')
        )
),

unmatched as (
    select
        logged.usage_date,
        logged.provider,
        case when detail.has_account is null or detail.has_account then logged.account else '*' end as key_account,
        logged.feature || '|' || logged.model || '|' || logged.service_tier || '|' || logged.component as evidence,
        logged.contracted_cost_usd
    from int__logged_keyed as logged
    left join int__match_detail as detail
        on logged.usage_date = detail.usage_date and logged.provider = detail.provider
    where logged.key_id is null and logged.contracted_cost_usd is not null and logged.provider <> 'self_hosted'
),

usage_effects as (
    select
        unmatched.usage_date,
        unmatched.provider,
        unmatched.key_account,
        case when covered.provider is null then 'timing' else 'not_billed' end as cause,
        unmatched.evidence,
        -unmatched.contracted_cost_usd as amount_usd
    from unmatched
    left join covered
        on unmatched.usage_date = covered.usage_date
        and unmatched.provider = covered.provider
        and unmatched.key_account = covered.key_account
    union all
    select
        usage.usage_date,
        usage.provider,
        usage.key_account,
        case
            when usage.status in ('failure', 'blocked') then 'not_billed'
            when usage.is_meter and covered.provider is null then 'timing'
            when usage.is_meter then 'non_token_charges'
            else 'excluded_from_cost_api'
        end as cause,
        usage.feature || '|' || usage.model || '|' || usage.service_tier || '|' || usage.component as evidence,
        -usage.contracted_cost_usd as amount_usd
    from usage
    left join covered
        on usage.usage_date = covered.usage_date
        and usage.provider = covered.provider
        and usage.key_account = covered.key_account
    where
        usage.component <> 'requests'
        and (
            usage.status in ('failure', 'blocked')
            or usage.is_meter
            or (usage.provider = 'anthropic' and usage.service_tier = 'priority')
        )
),

line_effects as (
    select
        lines.usage_date,
        lines.provider,
        case when detail.has_account is null or detail.has_account then lines.account else '*' end as key_account,
        case lines.charge_kind
            when 'tax' then 'tax'
            when 'credit' then 'credits'
            when 'commitment' then 'commitment'
            when 'unused_commitment' then 'commitment'
            else 'non_token_charges'
        end as cause,
        lines.landed_file || ':' || cast(lines.record_number as varchar) as evidence,
        lines.billed_cost_at_invoice_rate_usd as amount_usd,
        lines.billed_cost_usd - lines.billed_cost_at_invoice_rate_usd as fx_usd
    from int__bill_lines as lines
    left join int__match_detail as detail
        on lines.usage_date = detail.usage_date and lines.provider = detail.provider
    where lines.charge_kind <> 'token' and lines.billed_cost_usd is not null
),

effects as (
    select
        usage_date,
        provider,
        key_account,
        cause,
        evidence,
        amount_usd
    from token_effects
    union all
    select
        usage_date,
        provider,
        key_account,
        cause,
        evidence,
        amount_usd
    from usage_effects
    union all
    select
        usage_date,
        provider,
        key_account,
        cause,
        evidence,
        amount_usd
    from line_effects
    union all
    select
        usage_date,
        provider,
        key_account,
        'fx' as cause,
        evidence,
        fx_usd as amount_usd
    from line_effects
)

select
    usage_date,
    provider,
    key_account as account,
    cause,
    evidence,
    cast(sum(amount_usd) as decimal(38, 12)) as amount_usd
from effects
where amount_usd <> 0
group by usage_date, provider, key_account, cause, evidence
