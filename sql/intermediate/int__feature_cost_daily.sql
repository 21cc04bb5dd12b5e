/* --- toml
title = "What each feature cost per UTC day, computed from all that is known now"
grain = "One row per UTC day, feature, team, cost center, provider, account, model and service tier"
key = ["usage_date", "feature", "team", "cost_center", "provider", "account", "model", "service_tier"]
inputs = ["int__usage_cost", "int__allocated_tokens", "int__allocated_shared", "int__allocated_commitments", "int__bill_coverage", "int__bill_lines", "int__month_gate", "int__infrastructure_shares", "int__bill_clock"]
rules = [
    "list and contracted cost price the logged tokens that have a price; NULL where nothing of the row could be priced, and unpriced_tokens says what they leave out",
    "list cost is NULL as well where any priced part of the row has no public price, only a contract's",
    "billed cost is the row's share of the bill, NULL until a complete bill bucket covers its provider, account and day",
    "effective cost is the share of the bill where one is complete, else contracted cost; tiers that a bill leaves out by rule keep contracted cost",
    "cost_status: estimated without a complete bill, provisional while the provider may still restate it or its account's month does not pass the gate of 0.5%, else final",
    "self-hosted rows have no list, contracted and billed cost; their effective cost is the all-in share of the ledger's usage basis, idle capacity on __idle__ by default, final once the ledger prices their deployment and day, else NULL and estimated",
    "commitments of commitments.csv count amortised on days with a complete bill: the used part by use, the rest on __unused_commitment__",
    "always current, closed months too: what is published of those stands in mart__feature_cost_daily",
    "cost_per_mtok_usd is one stored sum times 10^6 over another, NULL at zero tokens; never average it",
]
owner = "finops"
--- */
with usage as (
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        component,
        is_unpriced,
        tokens,
        requests,
        reasoning_tokens,
        meter_quantity,
        list_cost_usd,
        contracted_cost_usd
    from int__usage_cost
),

shares as (
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        billed_cost_usd,
        effective_cost_usd,
        cast(0 as decimal(38, 12)) as non_token_cost_usd
    from int__allocated_tokens
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
        billed_cost_usd,
        effective_cost_usd,
        effective_cost_usd as non_token_cost_usd
    from int__allocated_shared
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
        cast(0 as decimal(38, 12)) as billed_cost_usd,
        effective_cost_usd,
        cast(0 as decimal(38, 12)) as non_token_cost_usd
    from int__allocated_commitments
),

accounts as (
    select
        usage_date,
        provider,
        account
    from usage
    union
    select
        usage_date,
        provider,
        account
    from shares
),

covered as (
    select distinct
        accounts.usage_date,
        accounts.provider,
        accounts.account
    from accounts
    inner join int__bill_coverage as coverage
        on accounts.usage_date = coverage.usage_date
        and accounts.provider = coverage.provider
        and (coverage.account = accounts.account or coverage.account = '*' or accounts.account in ('*', 'default'))
),

invoiced as (
    select
        provider,
        cast(date_trunc('month', usage_date) as date) as month_start,
        min(case when invoice_id is null then 0 else 1 end) as has_invoice
    from int__bill_lines
    group by provider, cast(date_trunc('month', usage_date) as date)
),

gated as (
    select distinct
        accounts.usage_date,
        accounts.provider,
        accounts.account
    from accounts
    inner join int__month_gate as gate
        on strftime(accounts.usage_date, '%Y-%m') = gate.month
        and accounts.provider = gate.provider
        and (gate.account = accounts.account or gate.account = '*' or accounts.account in ('*', 'default'))
    where not gate.passes
),

facts as (
    select
        usage.usage_date,
        usage.feature,
        usage.team,
        usage.cost_center,
        usage.provider,
        usage.account,
        usage.model,
        usage.service_tier,
        usage.requests,
        case when usage.component in ('output', 'output_audio', 'output_image') then 0 else usage.tokens end
            as input_tokens,
        case when usage.component in ('cache_read', 'cache_read_audio') then usage.tokens else 0 end
            as cached_input_tokens,
        case
            when usage.component in (
                'cache_write_5m', 'cache_write_1h', 'cache_write_30m', 'cache_write_12h', 'cache_write_unknown'
            ) then usage.tokens
            else 0
        end as cache_write_tokens,
        case when usage.component in ('output', 'output_audio', 'output_image') then usage.tokens else 0 end
            as output_tokens,
        usage.reasoning_tokens,
        case when usage.is_unpriced then usage.tokens else 0 end as unpriced_tokens,
        case
            when usage.provider = 'self_hosted' then cast(null as decimal(38, 12)) else usage.list_cost_usd
        end as list_cost_usd,
        case
            when usage.provider = 'self_hosted' then cast(null as decimal(38, 12)) else usage.contracted_cost_usd
        end as contracted_cost_usd,
        case when covered.provider is null then cast(null as decimal(38, 12)) else cast(0 as decimal(38, 12)) end
            as billed_cost_usd,
        case
            when usage.provider = 'self_hosted' then cast(null as decimal(38, 12))
            when covered.provider is null then usage.contracted_cost_usd
            when usage.provider = 'anthropic' and usage.service_tier = 'priority' then usage.contracted_cost_usd
            else cast(0 as decimal(38, 12))
        end as effective_cost_usd,
        case
            when usage.meter_quantity is null or covered.provider is not null then cast(0 as decimal(38, 12))
            else usage.contracted_cost_usd
        end as non_token_cost_usd,
        case when covered.provider is null then 0 else 1 end as is_covered
    from usage
    left join covered
        on usage.usage_date = covered.usage_date
        and usage.provider = covered.provider
        and usage.account = covered.account
    union all
    select
        shares.usage_date,
        shares.feature,
        shares.team,
        shares.cost_center,
        shares.provider,
        shares.account,
        shares.model,
        shares.service_tier,
        0 as requests,
        0 as input_tokens,
        0 as cached_input_tokens,
        0 as cache_write_tokens,
        0 as output_tokens,
        0 as reasoning_tokens,
        0 as unpriced_tokens,
        cast(null as decimal(38, 12)) as list_cost_usd,
        cast(null as decimal(38, 12)) as contracted_cost_usd,
        shares.billed_cost_usd,
        case when covered.provider is null then cast(null as decimal(38, 12)) else shares.effective_cost_usd end
            as effective_cost_usd,
        case when covered.provider is null then cast(0 as decimal(38, 12)) else shares.non_token_cost_usd end
            as non_token_cost_usd,
        case when covered.provider is null then 0 else 1 end as is_covered
    from shares
    left join covered
        on shares.usage_date = covered.usage_date
        and shares.provider = covered.provider
        and shares.account = covered.account
    union all
    select
        usage_date,
        feature,
        team,
        cost_center,
        'self_hosted' as provider,
        deployment as account,
        model,
        service_tier,
        0 as requests,
        0 as input_tokens,
        0 as cached_input_tokens,
        0 as cache_write_tokens,
        0 as output_tokens,
        0 as reasoning_tokens,
        0 as unpriced_tokens,
        cast(null as decimal(38, 12)) as list_cost_usd,
        cast(null as decimal(38, 12)) as contracted_cost_usd,
        cast(null as decimal(38, 12)) as billed_cost_usd,
        usage_cost_usd as effective_cost_usd,
        cast(0 as decimal(38, 12)) as non_token_cost_usd,
        0 as is_covered
    from int__infrastructure_shares
),

summed as (
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        cast(sum(requests) as bigint) as requests,
        cast(sum(input_tokens) as bigint) as input_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(cache_write_tokens) as bigint) as cache_write_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(reasoning_tokens) as bigint) as reasoning_tokens,
        cast(sum(input_tokens) + sum(output_tokens) as bigint) as total_tokens,
        cast(sum(unpriced_tokens) as bigint) as unpriced_tokens,
        cast(
            case
                when max(case when contracted_cost_usd is not null and list_cost_usd is null then 1 else 0 end) = 0
                    then sum(list_cost_usd)
            end as decimal(38, 12)
        ) as list_cost_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 12)) as contracted_cost_usd,
        cast(sum(billed_cost_usd) as decimal(38, 12)) as billed_cost_usd,
        cast(sum(effective_cost_usd) as decimal(38, 12)) as effective_cost_usd,
        cast(sum(non_token_cost_usd) as decimal(38, 12)) as non_token_cost_usd,
        min(is_covered) as is_covered
    from facts
    group by usage_date, feature, team, cost_center, provider, account, model, service_tier
)

select
    summed.usage_date,
    summed.feature,
    summed.team,
    summed.cost_center,
    summed.provider,
    summed.account,
    summed.model,
    summed.service_tier,
    summed.requests,
    summed.input_tokens,
    summed.cached_input_tokens,
    summed.cache_write_tokens,
    summed.output_tokens,
    summed.reasoning_tokens,
    summed.total_tokens,
    summed.unpriced_tokens,
    summed.list_cost_usd,
    summed.contracted_cost_usd,
    summed.billed_cost_usd,
    summed.effective_cost_usd,
    summed.non_token_cost_usd,
    case
        when summed.provider = 'self_hosted' and summed.effective_cost_usd is not null then 'final'
        when summed.is_covered = 0 then 'estimated'
        when gated.provider is not null then 'provisional'
        when
            summed.provider in ('google', 'gcp')
            and summed.usage_date + interval 60 day > clock.today then 'provisional'
        when
            summed.provider in ('aws', 'aws_bedrock', 'azure', 'azure_openai')
            and (
                coalesce(invoiced.has_invoice, 0) = 0
                or date_trunc('month', summed.usage_date) + interval 1 month + interval 5 day > clock.today
            ) then 'provisional'
        when
            summed.provider not in ('google', 'gcp', 'aws', 'aws_bedrock', 'azure', 'azure_openai')
            and summed.usage_date + interval 35 day > clock.today then 'provisional'
        else 'final'
    end as cost_status,
    cast(
        cast(summed.effective_cost_usd as double) * 1000000 / nullif(summed.total_tokens, 0) as decimal(38, 12)
    ) as cost_per_mtok_usd,
    cast(
        cast(summed.effective_cost_usd as double) * 1000000 / nullif(summed.output_tokens, 0) as decimal(38, 12)
    ) as cost_per_mtok_output_usd
from summed
cross join int__bill_clock as clock
left join invoiced
    on summed.provider = invoiced.provider
    and cast(date_trunc('month', summed.usage_date) as date) = invoiced.month_start
left join gated
    on summed.usage_date = gated.usage_date
    and summed.provider = gated.provider
    and summed.account = gated.account
