/* --- toml
title = "Logged, provider-counted and billed cost side by side, and every dollar between them by cause"
grain = "One row per provider, account and UTC day"
key = ["usage_date", "provider", "account"]
inputs = ["int__usage_cost", "int__provider_cost", "int__bill_lines", "int__bill_coverage", "int__match_detail", "int__reconciliation_causes", "int__bill_clock"]
rules = [
    "billed minus metered is exactly the sum of the causes; causes are 0, not NULL, from the first bill of the month on",
    "coverage is logged over provider-counted tokens, NULL without provider usage",
    "account is `*` where a side does not know accounts that day",
]
owner = "finops"
--- */
with logged as (
    select
        costs.usage_date,
        costs.provider,
        case when detail.has_account is null or detail.has_account then costs.account else '*' end as account,
        sum(costs.tokens) as logged_tokens,
        sum(costs.contracted_cost_usd) as metered_cost_usd,
        sum(case when costs.is_unpriced then costs.tokens else 0 end) as unpriced_tokens
    from int__usage_cost as costs
    left join int__match_detail as detail
        on costs.usage_date = detail.usage_date and costs.provider = detail.provider
    where costs.provider <> 'self_hosted'
    group by
        costs.usage_date,
        costs.provider,
        case when detail.has_account is null or detail.has_account then costs.account else '*' end
),

provided as (
    select
        costs.usage_date,
        costs.provider,
        case when detail.has_account is null or detail.has_account then costs.account else '*' end as account,
        sum(costs.tokens) as provider_tokens,
        sum(costs.provider_cost_usd) as provider_cost_usd
    from int__provider_cost as costs
    left join int__match_detail as detail
        on costs.usage_date = detail.usage_date and costs.provider = detail.provider
    group by
        costs.usage_date,
        costs.provider,
        case when detail.has_account is null or detail.has_account then costs.account else '*' end
),

billed as (
    select
        lines.usage_date,
        lines.provider,
        case when detail.has_account is null or detail.has_account then lines.account else '*' end as account,
        sum(lines.billed_cost_usd) as billed_cost_usd,
        count(*) as bill_lines,
        sum(case when lines.billed_cost_usd is null then 1 else 0 end) as lines_without_rate
    from int__bill_lines as lines
    left join int__match_detail as detail
        on lines.usage_date = detail.usage_date and lines.provider = detail.provider
    group by
        lines.usage_date,
        lines.provider,
        case when detail.has_account is null or detail.has_account then lines.account else '*' end
),

with_bill as (select distinct provider from int__bill_lines),

pairs as (
    select
        usage_date,
        provider,
        account
    from logged
    union
    select
        usage_date,
        provider,
        account
    from provided
    union
    select
        usage_date,
        provider,
        account
    from billed
    union
    select
        coverage.usage_date,
        coverage.provider,
        coverage.account
    from int__bill_coverage as coverage
    inner join with_bill on coverage.provider = with_bill.provider
    where coverage.account <> '*'
),

covered as (
    select distinct
        pairs.usage_date,
        pairs.provider,
        pairs.account
    from pairs
    inner join int__bill_coverage as coverage
        on pairs.usage_date = coverage.usage_date
        and pairs.provider = coverage.provider
        and (coverage.account = pairs.account or coverage.account = '*' or pairs.account in ('*', 'default'))
),

billing_providers as (
    select provider from int__bill_lines
    union
    select provider from int__bill_coverage
),

causes as (
    select
        usage_date,
        provider,
        account,
        sum(case when cause = 'price_gap' then amount_usd else 0 end) as price_gap_usd,
        sum(case when cause = 'unlogged' then amount_usd else 0 end) as unlogged_usd,
        sum(case when cause = 'overlogged' then amount_usd else 0 end) as overlogged_usd,
        sum(case when cause = 'unpriced' then amount_usd else 0 end) as unpriced_usd,
        sum(case when cause = 'non_token_charges' then amount_usd else 0 end) as non_token_charges_usd,
        sum(case when cause = 'credits' then amount_usd else 0 end) as credits_usd,
        sum(case when cause = 'tax' then amount_usd else 0 end) as tax_usd,
        sum(case when cause = 'commitment' then amount_usd else 0 end) as commitment_usd,
        sum(case when cause = 'excluded_from_cost_api' then amount_usd else 0 end) as excluded_from_cost_api_usd,
        sum(case when cause = 'not_billed' then amount_usd else 0 end) as not_billed_usd,
        sum(case when cause = 'timing' then amount_usd else 0 end) as timing_usd,
        sum(case when cause = 'fx' then amount_usd else 0 end) as fx_usd,
        sum(case when cause like 'unexplained%' then amount_usd else 0 end) as unexplained_usd,
        max(case when cause = 'unexplained:unit_suspect' then 1 else 0 end) as has_unit_suspect,
        max(case when cause = 'unexplained:price_suspect' then 1 else 0 end) as has_price_suspect
    from int__reconciliation_causes
    group by usage_date, provider, account
)

select
    pairs.usage_date,
    pairs.provider,
    pairs.account,
    cast(coalesce(logged.logged_tokens, 0) as bigint) as logged_tokens,
    cast(provided.provider_tokens as bigint) as provider_tokens,
    cast(
        cast(coalesce(logged.logged_tokens, 0) as double) / nullif(provided.provider_tokens, 0) as decimal(18, 6)
    ) as coverage,
    cast(coalesce(logged.metered_cost_usd, 0) as decimal(38, 12)) as metered_cost_usd,
    cast(provided.provider_cost_usd as decimal(38, 12)) as provider_cost_usd,
    cast(
        case when billing_providers.provider is null then null else coalesce(billed.billed_cost_usd, 0) end
        as decimal(38, 12)
    ) as billed_cost_usd,
    cast(null as decimal(38, 12)) as invoice_total_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.price_gap_usd, 0) end as decimal(38, 12)
    ) as price_gap_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.unlogged_usd, 0) end as decimal(38, 12)
    ) as unlogged_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.overlogged_usd, 0) end as decimal(38, 12)
    ) as overlogged_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.unpriced_usd, 0) end as decimal(38, 12)
    ) as unpriced_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.non_token_charges_usd, 0) end as decimal(
            38, 12
        )
    ) as non_token_charges_usd,
    cast(case when billing_providers.provider is not null then coalesce(causes.credits_usd, 0) end as decimal(38, 12))
        as credits_usd,
    cast(case when billing_providers.provider is not null then coalesce(causes.tax_usd, 0) end as decimal(38, 12))
        as tax_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.commitment_usd, 0) end as decimal(38, 12)
    ) as commitment_usd,
    cast(
        case
            when billing_providers.provider is not null then coalesce(causes.excluded_from_cost_api_usd, 0)
        end as decimal(38, 12)
    ) as excluded_from_cost_api_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.not_billed_usd, 0) end as decimal(38, 12)
    ) as not_billed_usd,
    cast(case when billing_providers.provider is not null then coalesce(causes.timing_usd, 0) end as decimal(38, 12))
        as timing_usd,
    cast(case when billing_providers.provider is not null then coalesce(causes.fx_usd, 0) end as decimal(38, 12))
        as fx_usd,
    cast(case when billing_providers.provider is not null then 0 end as decimal(38, 12)) as rounding_usd,
    cast(
        case when billing_providers.provider is not null then coalesce(causes.unexplained_usd, 0) end as decimal(38, 12)
    ) as unexplained_usd,
    case
        when covered.provider is null then 'estimated'
        when
            pairs.provider in ('google', 'gcp') and pairs.usage_date + interval 60 day > clock.today then 'provisional'
        when
            pairs.provider in ('aws', 'aws_bedrock', 'azure', 'azure_openai')
            and date_trunc('month', pairs.usage_date) + interval 1 month + interval 5 day > clock.today
            then 'provisional'
        when
            pairs.provider not in ('google', 'gcp', 'aws', 'aws_bedrock', 'azure', 'azure_openai')
            and pairs.usage_date + interval 35 day > clock.today then 'provisional'
        else 'final'
    end as status,
    case
        when billing_providers.provider is null then 'no bill has been landed for this provider this month'
        when
            coalesce(billed.lines_without_rate, 0) > 0
            then 'bill lines without an exchange rate: add the day to fx_rates.csv'
        when covered.provider is null then 'no complete bill bucket for this day: fetch or land it, in whole UTC days'
        when causes.has_unit_suspect = 1
            then
                'unit_suspect: billed is about 100 or 1,000 times off; check cents against dollars '
                || 'and tokens against thousands'
        when causes.has_price_suspect = 1
            then
                'price_suspect: billed is outside 0.5 to 1.25 times the metered price; check the '
                || 'price book and contracts'
        when
            coalesce(causes.unpriced_usd, 0) <> 0
            then 'billed tokens have no price: see mart__unpriced_usage, then prices add'
        when
            coalesce(causes.overlogged_usd, 0) <> 0
            then
                'more was logged than the provider counted: look for a log landed twice, cached '
                || 'tokens or a batch counted twice'
        when
            coalesce(causes.unlogged_usd, 0) <> 0
            then 'the provider counted more than was logged: traffic bypasses the logs, or a day of logs is missing'
        when coalesce(causes.price_gap_usd, 0) * 200 > abs(billed.billed_cost_usd)
            then
                'price_gap: billed above the contracted price; look for a stale price or a '
                || 'surcharge: prices show, prices add'
        when -coalesce(causes.price_gap_usd, 0) * 200 > abs(billed.billed_cost_usd)
            then 'price_gap: billed below the contracted price; a discount may be missing in contract_prices.csv'
        when coalesce(causes.not_billed_usd, 0) <> 0
            then 'logged usage does not stand on a complete bill: failed or blocked requests, or a line that is missing'
        when coalesce(causes.excluded_from_cost_api_usd, 0) <> 0
            then 'a tier that the cost API leaves out by rule keeps its contracted cost: it stands on the invoice'
    end as reason
from pairs
cross join int__bill_clock as clock
left join logged
    on pairs.usage_date = logged.usage_date and pairs.provider = logged.provider and pairs.account = logged.account
left join provided
    on pairs.usage_date = provided.usage_date
    and pairs.provider = provided.provider
    and pairs.account = provided.account
left join billed
    on pairs.usage_date = billed.usage_date and pairs.provider = billed.provider and pairs.account = billed.account
left join covered
    on pairs.usage_date = covered.usage_date and pairs.provider = covered.provider and pairs.account = covered.account
left join billing_providers on pairs.provider = billing_providers.provider
left join causes
    on pairs.usage_date = causes.usage_date and pairs.provider = causes.provider and pairs.account = causes.account
