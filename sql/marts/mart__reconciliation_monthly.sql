/* --- toml
title = "The month's tie-out: metered, provider-counted, billed and invoiced cost, with every cause between"
grain = "One row per provider, account and month"
key = ["month", "provider", "account"]
inputs = ["mart__reconciliation_daily", "ref__invoices", "ref__fx_rates"]
rules = [
    "each amount is the sum of the month's days; billed cost is the invoice's total (plus fx) where one is known, and what it differs by from its lines is rounding (within half a cent per day) or unexplained",
    "an invoice for any account (`*`) ties out with the lines of all accounts of its provider; when the days know accounts, its row `*` bills what the invoice differs by",
    "unexplained above 0.5% of billed or invoiced, whichever is more, keeps the month provisional and open",
    "always recomputed, closed months too: what was frozen stands in mart__feature_cost_daily, what came later in its Correction rows",
    "implied_discount_percent: a steady price gap as a share of what was expected, a hint at a missing contract",
]
owner = "finops"
--- */
with days as (
    select
        strftime(usage_date, '%Y-%m') as month,
        provider,
        account,
        sum(logged_tokens) as logged_tokens,
        sum(provider_tokens) as provider_tokens,
        sum(case when provider_tokens is not null then logged_tokens end) as compared_tokens,
        sum(metered_cost_usd) as metered_cost_usd,
        sum(provider_cost_usd) as provider_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(price_gap_usd) as price_gap_usd,
        sum(unlogged_usd) as unlogged_usd,
        sum(overlogged_usd) as overlogged_usd,
        sum(unpriced_usd) as unpriced_usd,
        sum(non_token_charges_usd) as non_token_charges_usd,
        sum(credits_usd) as credits_usd,
        sum(tax_usd) as tax_usd,
        sum(commitment_usd) as commitment_usd,
        sum(excluded_from_cost_api_usd) as excluded_from_cost_api_usd,
        sum(not_billed_usd) as not_billed_usd,
        sum(timing_usd) as timing_usd,
        sum(fx_usd) as fx_usd,
        sum(unexplained_usd) as unexplained_usd,
        max(case status when 'estimated' then 3 when 'provisional' then 2 else 1 end) as worst_status,
        count(*) as day_rows,
        max(case when reason like 'unit_suspect%' then reason end) as unit_reason,
        max(case when reason like 'price_suspect%' then reason end) as price_reason,
        max(case when reason like 'bill lines without%' then reason end) as rate_reason,
        max(case when status = 'estimated' then reason end) as estimated_reason
    from mart__reconciliation_daily
    group by strftime(usage_date, '%Y-%m'), provider, account
),

rate_days as (
    select
        invoices.provider,
        invoices.account,
        invoices.period,
        invoices.invoice_id,
        max(rates.rate_date) as rate_date
    from ref__invoices as invoices
    inner join ref__fx_rates as rates
        on invoices.currency = rates.currency and rates.rate_date <= invoices.issued_on
    group by invoices.provider, invoices.account, invoices.period, invoices.invoice_id
),

invoiced as (
    select
        invoices.provider,
        invoices.account,
        invoices.period as month,
        case
            when count(*) = sum(case when invoices.currency = 'USD' or rates.usd_per_unit is not null then 1 else 0 end)
                then sum(
                    case
                        when invoices.currency = 'USD' then cast(invoices.total as decimal(38, 12))
                        else cast(
                            round(
                                cast(invoices.total as decimal(20, 12)) * cast(rates.usd_per_unit as decimal(18, 9)), 12
                            ) as decimal(38, 12)
                        )
                    end
                )
        end as invoice_total_usd
    from ref__invoices as invoices
    left join rate_days
        on invoices.provider = rate_days.provider
        and invoices.account = rate_days.account
        and invoices.period = rate_days.period
        and invoices.invoice_id = rate_days.invoice_id
    left join ref__fx_rates as rates
        on invoices.currency = rates.currency and rate_days.rate_date = rates.rate_date
    group by invoices.provider, invoices.account, invoices.period
),

providers as (
    select
        month,
        provider,
        sum(coalesce(billed_cost_usd, 0) - coalesce(fx_usd, 0)) as lines_usd,
        sum(day_rows) as day_rows,
        max(worst_status) as worst_status
    from days
    group by month, provider
),

present_months as (
    select distinct month
    from days
),

together as (
    select
        coalesce(days.month, invoiced.month) as month,
        coalesce(days.provider, invoiced.provider) as provider,
        coalesce(days.account, invoiced.account) as account,
        days.logged_tokens,
        days.provider_tokens,
        days.compared_tokens,
        coalesce(days.metered_cost_usd, 0) as metered_cost_usd,
        days.provider_cost_usd,
        days.billed_cost_usd as lines_usd,
        invoiced.invoice_total_usd,
        days.price_gap_usd,
        days.unlogged_usd,
        days.overlogged_usd,
        days.unpriced_usd,
        days.non_token_charges_usd,
        days.credits_usd,
        days.tax_usd,
        days.commitment_usd,
        days.excluded_from_cost_api_usd,
        days.not_billed_usd,
        days.timing_usd,
        days.fx_usd,
        days.unexplained_usd,
        coalesce(days.worst_status, providers.worst_status, 3) as worst_status,
        case
            when invoiced.account = '*' then coalesce(providers.day_rows, 0) else coalesce(days.day_rows, 0)
        end as day_rows,
        coalesce(
            days.unit_reason,
            days.price_reason,
            days.rate_reason,
            days.estimated_reason,
            case
                when days.unpriced_usd <> 0
                    then 'billed tokens have no price: see mart__unpriced_usage, then prices add'
                when
                    days.unlogged_usd > 0 and days.overlogged_usd < 0
                    and abs(days.unlogged_usd + days.overlogged_usd) * 50 <= days.unlogged_usd
                    then
                        'zone_suspect: what is missing on some days is too much on others; check the '
                        || 'time zone of the logs'
                when days.overlogged_usd < 0
                    then
                        'more was logged than the provider counted: look for a log landed twice, '
                        || 'cached tokens or a batch counted twice'
                when days.unlogged_usd > 0
                    then
                        'the provider counted more than was logged: traffic bypasses the logs, or a '
                        || 'day of logs is missing'
                when days.price_gap_usd * 200 > abs(days.billed_cost_usd)
                    then
                        'price_gap: billed above the contracted price; look for a stale price or a '
                        || 'surcharge: prices show, prices add'
                when -days.price_gap_usd * 200 > abs(days.billed_cost_usd)
                    then
                        'price_gap: billed below the contracted price; a discount may be missing in contract_prices.csv'
                when days.not_billed_usd <> 0
                    then
                        'logged usage does not stand on a complete bill: failed or blocked requests, '
                        || 'or a line that is missing'
                when days.excluded_from_cost_api_usd <> 0
                    then
                        'a tier that the cost API leaves out by rule keeps its contracted cost: it stands '
                        || 'on the invoice'
            end
        ) as reason,
        invoiced.invoice_total_usd
        - case
            when invoiced.account = '*' then coalesce(providers.lines_usd, 0)
            else coalesce(days.billed_cost_usd - days.fx_usd, 0)
        end as invoice_gap_usd
    from days
    full outer join (
        select invoiced.*
        from invoiced
        inner join present_months on invoiced.month = present_months.month
    ) as invoiced
        on days.month = invoiced.month and days.provider = invoiced.provider and days.account = invoiced.account
    left join providers
        on invoiced.month = providers.month and invoiced.provider = providers.provider
),

tied as (
    select
        *,
        case
            when invoice_gap_usd is null then cast(0 as decimal(38, 12))
            when invoice_gap_usd * 200 <= day_rows and invoice_gap_usd * 200 >= -day_rows then invoice_gap_usd
            else cast(0 as decimal(38, 12))
        end as rounding_usd,
        coalesce(unexplained_usd, 0)
        + case
            when invoice_gap_usd is null then cast(0 as decimal(38, 12))
            when
                invoice_gap_usd * 200 <= day_rows and invoice_gap_usd * 200 >= -day_rows
                then cast(0 as decimal(38, 12))
            else invoice_gap_usd
        end as all_unexplained_usd,
        case
            when invoice_gap_usd is null then lines_usd
            else coalesce(lines_usd, 0) + invoice_gap_usd
        end as charged_usd
    from together
)

select
    month,
    provider,
    account,
    cast(coalesce(logged_tokens, 0) as bigint) as logged_tokens,
    cast(provider_tokens as bigint) as provider_tokens,
    cast(cast(compared_tokens as double) / nullif(provider_tokens, 0) as decimal(18, 6)) as coverage,
    cast(metered_cost_usd as decimal(38, 12)) as metered_cost_usd,
    cast(provider_cost_usd as decimal(38, 12)) as provider_cost_usd,
    cast(charged_usd as decimal(38, 12)) as billed_cost_usd,
    cast(invoice_total_usd as decimal(38, 12)) as invoice_total_usd,
    cast(case when charged_usd is not null then coalesce(price_gap_usd, 0) end as decimal(38, 12)) as price_gap_usd,
    cast(case when charged_usd is not null then coalesce(unlogged_usd, 0) end as decimal(38, 12)) as unlogged_usd,
    cast(case when charged_usd is not null then coalesce(overlogged_usd, 0) end as decimal(38, 12)) as overlogged_usd,
    cast(case when charged_usd is not null then coalesce(unpriced_usd, 0) end as decimal(38, 12)) as unpriced_usd,
    cast(case when charged_usd is not null then coalesce(non_token_charges_usd, 0) end as decimal(38, 12))
        as non_token_charges_usd,
    cast(case when charged_usd is not null then coalesce(credits_usd, 0) end as decimal(38, 12)) as credits_usd,
    cast(case when charged_usd is not null then coalesce(tax_usd, 0) end as decimal(38, 12)) as tax_usd,
    cast(case when charged_usd is not null then coalesce(commitment_usd, 0) end as decimal(38, 12)) as commitment_usd,
    cast(case when charged_usd is not null then coalesce(excluded_from_cost_api_usd, 0) end as decimal(38, 12))
        as excluded_from_cost_api_usd,
    cast(case when charged_usd is not null then coalesce(not_billed_usd, 0) end as decimal(38, 12)) as not_billed_usd,
    cast(
        case
            when charged_usd is null then null
            when lines_usd is null then -metered_cost_usd
            else coalesce(timing_usd, 0)
        end as decimal(38, 12)
    ) as timing_usd,
    cast(case when charged_usd is not null then coalesce(fx_usd, 0) end as decimal(38, 12)) as fx_usd,
    cast(case when charged_usd is not null then rounding_usd end as decimal(38, 12)) as rounding_usd,
    cast(case when charged_usd is not null then all_unexplained_usd end as decimal(38, 12)) as unexplained_usd,
    cast(
        case
            when price_gap_usd < 0
                then
                    -cast(price_gap_usd as double) * 100
                    / nullif(cast(coalesce(provider_cost_usd, metered_cost_usd) as double), 0)
        end as decimal(18, 6)
    ) as implied_discount_percent,
    case
        when worst_status = 3 then 'estimated'
        when
            abs(all_unexplained_usd) * 200 > greatest(abs(charged_usd), abs(coalesce(invoice_total_usd, 0)))
            then 'provisional'
        when worst_status = 2 then 'provisional'
        else 'final'
    end as status,
    case
        when abs(all_unexplained_usd) * 200 > greatest(abs(charged_usd), abs(coalesce(invoice_total_usd, 0)))
            then
                coalesce(reason, 'the invoice differs from its lines: a line is missing or was billed elsewhere')
                || ' (unexplained is above 0.5% of billed: the month cannot be closed)'
        else reason
    end as reason
from tied
