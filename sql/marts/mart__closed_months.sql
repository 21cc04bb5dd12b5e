/* --- toml
title = "Closed months: what was frozen, what has been corrected since, and their sum"
grain = "One row per closed month"
key = ["month"]
inputs = ["core__closed_months", "core__closed_costs", "int__closed_difference", "int__corrections"]
rows_from = ["core__closed_months"]
rules = [
    "frozen plus corrections, those in later closed months included, is the month as it would be computed now",
    "reconciliation is always recomputed: mart__reconciliation_monthly shows a closed month as it is known now",
]
owner = "finops"
partition = "all"
--- */
with followers as (
    select strftime(cast(month || '-01' as date) + interval 1 month, '%Y-%m') as following_month
    from core__closed_months
),

open_followers as (
    select followers.following_month
    from followers
    left join core__closed_months as closed on followers.following_month = closed.month
    where closed.month is null
),

postings as (
    select
        closed.month,
        min(open_followers.following_month) as posting_month
    from core__closed_months as closed
    inner join open_followers on closed.month < open_followers.following_month
    group by closed.month
),

frozen as (
    select
        strftime(usage_date, '%Y-%m') as month,
        sum(total_tokens) as total_tokens,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from core__closed_costs
    where charge_class is null
    group by strftime(usage_date, '%Y-%m')
),

changes as (
    select
        costs.corrected_month as month,
        costs.total_tokens,
        costs.billed_cost_usd,
        costs.effective_cost_usd
    from core__closed_costs as costs
    inner join core__closed_months as closed on strftime(costs.usage_date, '%Y-%m') = closed.month
    where costs.charge_class is not null
    union all
    select
        month,
        total_tokens,
        billed_cost_usd,
        effective_cost_usd
    from int__corrections
),

corrected as (
    select
        month,
        sum(total_tokens) as total_tokens,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from changes
    group by month
),

differences as (
    select
        month,
        sum(total_tokens) as total_tokens,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from int__closed_difference
    group by month
)

select
    closed.month,
    closed.closed_at,
    postings.posting_month,
    closed.closed_costs_sha256,
    cast(coalesce(frozen.total_tokens, 0) as bigint) as closed_total_tokens,
    cast(coalesce(frozen.billed_cost_usd, 0) as decimal(38, 12)) as closed_billed_cost_usd,
    cast(coalesce(frozen.effective_cost_usd, 0) as decimal(38, 12)) as closed_effective_cost_usd,
    cast(coalesce(corrected.total_tokens, 0) as bigint) as correction_total_tokens,
    cast(coalesce(corrected.billed_cost_usd, 0) as decimal(38, 12)) as correction_billed_cost_usd,
    cast(coalesce(corrected.effective_cost_usd, 0) as decimal(38, 12)) as correction_effective_cost_usd,
    cast(coalesce(frozen.total_tokens, 0) + coalesce(differences.total_tokens, 0) as bigint) as recomputed_total_tokens,
    cast(
        coalesce(frozen.billed_cost_usd, 0) + coalesce(differences.billed_cost_usd, 0) as decimal(38, 12)
    ) as recomputed_billed_cost_usd,
    cast(
        coalesce(frozen.effective_cost_usd, 0) + coalesce(differences.effective_cost_usd, 0) as decimal(38, 12)
    ) as recomputed_effective_cost_usd
from core__closed_months as closed
inner join postings on closed.month = postings.month
left join frozen on closed.month = frozen.month
left join corrected on closed.month = corrected.month
left join differences on closed.month = differences.month
