-- Every provider and account of the last twelve months: what was billed, what we explain of it, how it stands.
select
    month,
    provider,
    account,
    metered_cost_usd,
    billed_cost_usd,
    unexplained_usd,
    coverage,
    status
from mart__reconciliation_monthly
where month >= '2025-12'
order by month, provider, account
