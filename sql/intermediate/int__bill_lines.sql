/* --- toml
title = "Bill lines that count, in dollars, by kind of charge"
grain = "One row per bill line of the source that counts for its provider, account and day"
key = ["usage_date", "landed_file", "record_number"]
inputs = ["core__billing", "int__bill_sources", "ref__fx_rates", "ref__invoices", "ref__deployments", "ref__commitments", "int__model_names"]
rows_from = ["core__billing"]
rules = [
    "one bill source counts per provider, account and day (int__bill_sources); others are controls",
    "dollars are the amount in the bill's currency times the latest rate on or before the day; no rate: NULL",
    "an invoice in another currency has one rate, that of the day it was issued: cost at that rate is kept beside",
    "rent of machines that deployments.csv describes (bill_match) belongs to the infrastructure ledger and is left out here",
    "a purchase that commitments.csv describes has no effective cost of its own: it is amortised in int__allocated_commitments",
    "kinds: unused_commitment (what nobody used of a commitment), token, non_token, credit, tax, commitment (purchases), adjustment",
]
owner = "finops"
--- */
with machine_rent as (
    select distinct
        lines.landed_file,
        lines.record_number
    from core__billing as lines
    inner join ref__deployments as deployments
        on deployments.bill_match_regex is not null
        and deployments.provider in ('self_hosted', lines.provider)
        and (deployments.valid_from is null or cast(deployments.valid_from as date) <= lines.usage_date)
        and (deployments.valid_to is null or cast(deployments.valid_to as date) > lines.usage_date)
        and regexp_matches(
            coalesce(lines.service_name, '') || ' ' || coalesce(lines.sku_id, '') || ' '
            || coalesce(lines.resource_id, '') || ' ' || coalesce(lines.charge_description, ''),
            deployments.bill_match_regex
        )
),

amortised as (
    select distinct
        lines.landed_file,
        lines.record_number
    from core__billing as lines
    inner join ref__commitments as commitments
        on lines.provider = commitments.provider
        and commitments.account in (lines.account, '*')
        and (commitments.valid_from is null or cast(commitments.valid_from as date) <= lines.usage_date)
        and (commitments.valid_to is null or cast(commitments.valid_to as date) > lines.usage_date)
    where lines.charge_category = 'Purchase'
),

rate_days as (
    select
        lines.usage_date,
        lines.billing_currency,
        max(rates.rate_date) as rate_date
    from (select distinct
        usage_date,
        billing_currency
    from core__billing) as lines
    inner join ref__fx_rates as rates
        on lines.billing_currency = rates.currency and rates.rate_date <= lines.usage_date
    group by lines.usage_date, lines.billing_currency
),

rated as (
    select
        rate_days.usage_date,
        rate_days.billing_currency,
        rates.usd_per_unit,
        rates.currency || ':' || cast(rates.rate_date as varchar) as fx_rate_id
    from rate_days
    inner join ref__fx_rates as rates
        on rate_days.billing_currency = rates.currency and rate_days.rate_date = rates.rate_date
),

invoice_days as (
    select
        invoices.provider,
        invoices.account,
        invoices.period,
        invoices.currency,
        max(rates.rate_date) as rate_date
    from ref__invoices as invoices
    inner join ref__fx_rates as rates
        on invoices.currency = rates.currency and rates.rate_date <= invoices.issued_on
    group by invoices.provider, invoices.account, invoices.period, invoices.currency
),

invoice_rates as (
    select
        invoice_days.provider,
        invoice_days.account,
        invoice_days.period,
        invoice_days.currency,
        rates.usd_per_unit
    from invoice_days
    inner join ref__fx_rates as rates
        on invoice_days.currency = rates.currency and invoice_days.rate_date = rates.rate_date
)

select
    lines.usage_date,
    lines.source,
    lines.landed_file,
    lines.record_number,
    lines.provider,
    lines.account,
    lines.invoice_id,
    lines.billing_month,
    lines.charge_class,
    lines.charge_description,
    lines.service_name,
    lines.sku_id,
    case
        when lines.charge_category = 'Tax' then 'tax'
        when lines.charge_category = 'Credit' then 'credit'
        when lines.charge_category = 'Purchase' then 'commitment'
        when lines.commitment_status = 'Unused' then 'unused_commitment'
        when lines.is_token_charge then 'token'
        when lines.charge_category = 'Adjustment' then 'adjustment'
        else 'non_token'
    end as charge_kind,
    case when lines.model is null then null else coalesce(names.match_model, lines.model) end as match_model,
    lines.service_tier,
    lines.component,
    lines.consumed_quantity,
    lines.consumed_unit,
    lines.billing_currency,
    case when lines.billing_currency = 'USD' then 'USD' else rated.fx_rate_id end as fx_rate_id,
    cast(
        case
            when lines.billing_currency = 'USD' then lines.billed_cost_in_currency
            else round(
                cast(lines.billed_cost_in_currency as decimal(22, 12)) * cast(rated.usd_per_unit as decimal(16, 12)), 12
            )
        end as decimal(38, 12)
    ) as billed_cost_usd,
    cast(
        case
            when amortised.landed_file is not null then 0
            when lines.billing_currency = 'USD' then lines.effective_cost_in_currency
            else round(
                cast(lines.effective_cost_in_currency as decimal(22, 12)) * cast(rated.usd_per_unit as decimal(16, 12)),
                12
            )
        end as decimal(38, 12)
    ) as effective_cost_usd,
    cast(
        case
            when lines.billing_currency = 'USD' then lines.billed_cost_in_currency
            else round(
                cast(lines.billed_cost_in_currency as decimal(22, 12))
                * cast(coalesce(own_rate.usd_per_unit, any_rate.usd_per_unit, rated.usd_per_unit) as decimal(16, 12)),
                12
            )
        end as decimal(38, 12)
    ) as billed_cost_at_invoice_rate_usd
from core__billing as lines
inner join int__bill_sources as counted
    on lines.source = counted.source
    and lines.provider = counted.provider
    and lines.account = counted.account
    and lines.usage_date = counted.usage_date
left join rated
    on lines.usage_date = rated.usage_date and lines.billing_currency = rated.billing_currency
left join invoice_rates as own_rate
    on lines.provider = own_rate.provider
    and lines.account = own_rate.account
    and lines.billing_month = own_rate.period
    and lines.billing_currency = own_rate.currency
left join invoice_rates as any_rate
    on lines.provider = any_rate.provider
    and any_rate.account = '*'
    and lines.billing_month = any_rate.period
    and lines.billing_currency = any_rate.currency
left join int__model_names as names
    on lines.provider = names.provider
    and lines.model = names.model
    and (names.valid_from is null or cast(names.valid_from as date) <= lines.usage_date)
    and (names.valid_to is null or cast(names.valid_to as date) > lines.usage_date)
left join amortised
    on lines.landed_file = amortised.landed_file and lines.record_number = amortised.record_number
left join machine_rent
    on lines.landed_file = machine_rent.landed_file and lines.record_number = machine_rent.record_number
where machine_rent.landed_file is null
