/* --- toml
title = "Every bill line in a foreign currency has an exchange rate on or before its day"
severity = "warn"
inputs = ["int__bill_lines"]
partition = "month"
--- */
select
    provider,
    account,
    billing_currency,
    min(usage_date) as first_day,
    max(usage_date) as last_day,
    count(*) as bill_lines
from int__bill_lines
where billing_currency <> 'USD' and fx_rate_id is null
group by provider, account, billing_currency
order by provider, account, billing_currency
