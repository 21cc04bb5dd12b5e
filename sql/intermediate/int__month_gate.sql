/* --- toml
title = "Which account-months tie out well enough to be final"
grain = "One row per month, provider and account of the monthly reconciliation"
key = ["month", "provider", "account"]
inputs = ["mart__reconciliation_monthly"]
rules = [
    "a month passes while unexplained dollars are at most 0.5% of what was billed or invoiced, whichever is more",
    "an account-month without any bill has nothing to tie out and passes; its status stays estimated",
]
owner = "finops"
--- */
with months as (
    select
        month,
        provider,
        account,
        billed_cost_usd,
        invoice_total_usd,
        unexplained_usd,
        reason
    from mart__reconciliation_monthly
)

select
    month,
    provider,
    account,
    billed_cost_usd,
    unexplained_usd,
    unexplained_usd is null
    or abs(unexplained_usd) * 200 <= greatest(abs(billed_cost_usd), abs(coalesce(invoice_total_usd, 0))) as passes,
    reason
from months
