/* --- toml
title = "From which volume each way of running a deployment is cheaper than the API"
grain = "One row per month, deployment and option"
key = ["month", "deployment", "option"]
inputs = ["int__break_even"]
rows_from = ["int__break_even"]
rules = [
    "break-even is fixed cost over the API's price less variable cost, in tokens a month of the deployment's own mix; NULL where no volume pays",
    "stepped: copies of the deployment follow the volume, so self-hosting can pay, lose and pay again; the first crossings are shown and all are counted",
    "payback is the purchase over what it saves against the API each month",
]
owner = "finops"
--- */
select
    month,
    deployment,
    option,
    fixed_usd_per_month,
    variable_usd_per_mtok,
    api_usd_per_mtok,
    break_even_tokens_per_month,
    crossings,
    dearer_again_tokens_per_month,
    tokens_per_month,
    capacity_tokens_per_month,
    case
        when option = 'stepped' then break_even_tokens_per_month is not null
        else break_even_tokens_per_month <= capacity_tokens_per_month
    end as is_within_capacity,
    tokens_per_month >= break_even_tokens_per_month as is_past_break_even,
    purchase_usd,
    payback_months
from int__break_even
