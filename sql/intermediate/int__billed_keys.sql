/* --- toml
title = "Billed tokens by the finest key that every side can be compared at"
grain = "One row per match key: UTC day, provider, account, model, tier, component, `*` where a side lacks the detail"
key = ["key_id"]
inputs = ["int__bill_lines", "int__match_detail"]
rows_from = ["int__bill_lines"]
rules = [
    "levels: 1 model, tier and component; 2 model and component; 3 model and tier; 4 model; 5 account or provider and day",
    "billed and effective cost keep their own totals",
]
owner = "finops"
--- */
with keyed as (
    select
        lines.usage_date,
        lines.provider,
        case when detail.has_account then lines.account else '*' end as key_account,
        case when detail.has_model then coalesce(lines.match_model, '*') else '*' end as key_model,
        case
            when not detail.has_model or lines.match_model is null then '*'
            else coalesce(lines.service_tier, '*')
        end as key_tier,
        case
            when not detail.has_model or lines.match_model is null then '*'
            else coalesce(lines.component, '*')
        end as key_component,
        lines.billed_cost_usd,
        lines.effective_cost_usd,
        lines.billed_cost_at_invoice_rate_usd
    from int__bill_lines as lines
    inner join int__match_detail as detail
        on lines.usage_date = detail.usage_date and lines.provider = detail.provider
    where lines.charge_kind = 'token' and lines.billed_cost_usd is not null
)

select
    cast(usage_date as varchar)
    || '|' || provider || '|' || key_account || '|' || key_model || '|' || key_tier || '|' || key_component as key_id,
    usage_date,
    provider,
    key_account,
    key_model,
    key_tier,
    key_component,
    case
        when key_model <> '*' and key_tier <> '*' and key_component <> '*' then 1
        when key_model <> '*' and key_component <> '*' then 2
        when key_model <> '*' and key_tier <> '*' then 3
        when key_model <> '*' then 4
        else 5
    end as match_level,
    cast(count(*) as bigint) as bill_lines,
    cast(sum(billed_cost_usd) as decimal(38, 12)) as billed_cost_usd,
    cast(sum(effective_cost_usd) as decimal(38, 12)) as effective_cost_usd,
    cast(sum(billed_cost_at_invoice_rate_usd) as decimal(38, 12)) as billed_cost_at_invoice_rate_usd
from keyed
group by usage_date, provider, key_account, key_model, key_tier, key_component
