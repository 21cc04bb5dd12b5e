/* --- toml
title = "What a month's sources leave without a price, and what their bills leave unexplained"
grain = "One row per month, source and account"
key = ["month", "source", "account"]
inputs = ["int__usage_priced", "int__bill_lines", "mart__reconciliation_monthly"]
rules = [
    "unpriced tokens belong to the source that logged them",
    "unexplained dollars of a provider's account belong to the bill source that has lines of it, the first by name where several have; without any line, to all accounts of the provider's bill",
    "unexplained dollars are counted without their sign, so that months and accounts do not cancel out",
]
owner = "finops"
--- */
with unpriced as (
    select
        strftime(usage_date, '%Y-%m') as month,
        source,
        account,
        sum(tokens) as unpriced_tokens
    from int__usage_priced
    where is_unpriced
    group by strftime(usage_date, '%Y-%m'), source, account
),

billers as (
    select
        strftime(usage_date, '%Y-%m') as month,
        provider,
        account,
        min(source) as source
    from int__bill_lines
    group by strftime(usage_date, '%Y-%m'), provider, account
),

providers as (
    select
        month,
        provider,
        min(source) as source
    from billers
    group by month, provider
),

unexplained as (
    select
        tied.month,
        coalesce(billers.source, providers.source) as source,
        tied.account,
        sum(abs(tied.unexplained_usd)) as unexplained_usd
    from mart__reconciliation_monthly as tied
    left join billers
        on tied.month = billers.month and tied.provider = billers.provider and tied.account = billers.account
    left join providers on tied.month = providers.month and tied.provider = providers.provider
    where tied.unexplained_usd <> 0
    group by tied.month, coalesce(billers.source, providers.source), tied.account
),

gaps as (
    select
        month,
        source,
        account,
        unpriced_tokens,
        cast(0 as decimal(38, 12)) as unexplained_usd
    from unpriced
    union all
    select
        month,
        source,
        account,
        0 as unpriced_tokens,
        unexplained_usd
    from unexplained
    where source is not null
)

select
    month,
    source,
    account,
    cast(sum(unpriced_tokens) as bigint) as unpriced_tokens,
    cast(sum(unexplained_usd) as decimal(38, 12)) as unexplained_usd
from gaps
group by month, source, account
