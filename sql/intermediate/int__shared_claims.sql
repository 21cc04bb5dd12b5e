/* --- toml
title = "Who may claim a share of credits, fees, taxes and purchases"
grain = "One row per pool of other charges and claimant"
key = ["key_id", "feature", "team", "cost_center", "account", "model", "service_tier", "component"]
inputs = ["int__bill_lines", "int__allocated_tokens", "int__usage_cost", "ref__shared_costs", "ref__shared_cost_weights"]
rows_from = ["int__bill_lines"]
rules = [
    "shared_costs.csv decides by provider, account and text of the line, lowest priority number first",
    "no rule: credits follow the token charges of their provider, account and day; fees follow logged meters; taxes, purchases and adjustments stay __shared__",
    "a pool that nobody can claim is __shared__; what nobody used of a commitment is __unused_commitment__, whatever the rules say",
]
owner = "finops"
--- */
with lines as (
    select
        landed_file,
        record_number,
        usage_date,
        provider,
        account,
        charge_kind,
        coalesce(service_name, '') || ' ' || coalesce(sku_id, '') || ' ' || coalesce(charge_description, '') as words,
        billed_cost_usd,
        effective_cost_usd
    from int__bill_lines
    where charge_kind <> 'token' and billed_cost_usd is not null
),

ruled as (
    select
        lines.landed_file,
        lines.record_number,
        rules.priority,
        rules.method,
        row_number() over (
            partition by lines.landed_file, lines.record_number
            order by rules.priority asc, rules.provider desc, rules.account desc, rules.match asc
        ) as place
    from lines
    inner join ref__shared_costs as rules
        on rules.provider in (lines.provider, '*')
        and rules.account in (lines.account, '*')
        and (rules.valid_from is null or cast(rules.valid_from as date) <= lines.usage_date)
        and (rules.valid_to is null or cast(rules.valid_to as date) > lines.usage_date)
        and regexp_matches(lines.words, rules.match_regex)
),

placed as (
    select
        lines.usage_date,
        lines.provider,
        lines.account,
        lines.charge_kind,
        ruled.priority,
        case
            when lines.charge_kind = 'unused_commitment' then 'unused'
            when ruled.method is not null then ruled.method
            when lines.charge_kind = 'credit' then 'token_cost'
            when lines.charge_kind = 'non_token' then 'meter'
            else 'keep'
        end as method,
        lines.billed_cost_usd,
        lines.effective_cost_usd
    from lines
    left join ruled
        on lines.landed_file = ruled.landed_file and lines.record_number = ruled.record_number and ruled.place = 1
),

pools as (
    select
        cast(usage_date as varchar) || '|' || provider || '|' || account || '|' || charge_kind || '|' || method || '|'
        || coalesce(cast(priority as varchar), '') as key_id,
        usage_date,
        provider,
        account,
        charge_kind,
        method,
        priority,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from placed
    group by usage_date, provider, account, charge_kind, method, priority
),

charged as (
    select
        usage_date,
        feature,
        team,
        cost_center,
        provider,
        account,
        model,
        service_tier,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from int__allocated_tokens
    group by usage_date, feature, team, cost_center, provider, account, model, service_tier
),

by_token_cost as (
    select
        pools.key_id,
        charged.feature,
        charged.team,
        charged.cost_center,
        charged.account,
        charged.model,
        charged.service_tier,
        case
            when charged.billed_cost_usd > 0 then charged.billed_cost_usd else charged.effective_cost_usd
        end as weight_usd
    from pools
    inner join charged
        on pools.usage_date = charged.usage_date
        and pools.provider = charged.provider
        and (pools.account = charged.account or pools.account = '*')
    where pools.method = 'token_cost'
),

by_meter as (
    select
        pools.key_id,
        usage.feature,
        usage.team,
        usage.cost_center,
        usage.account,
        usage.model,
        usage.service_tier,
        sum(usage.contracted_cost_usd) as weight_usd
    from pools
    inner join int__usage_cost as usage
        on pools.usage_date = usage.usage_date
        and pools.provider = usage.provider
        and (pools.account in (usage.account, '*') or usage.account = 'default')
    where pools.method = 'meter' and usage.meter_quantity is not null
    group by
        pools.key_id, usage.feature, usage.team, usage.cost_center, usage.account, usage.model, usage.service_tier
),

evenly as (
    select distinct
        pools.key_id,
        charged.feature,
        charged.team,
        charged.cost_center,
        pools.account,
        '*' as model,
        '*' as service_tier,
        cast(1 as decimal(38, 12)) as weight_usd
    from pools
    inner join charged
        on pools.usage_date = charged.usage_date
        and pools.provider = charged.provider
        and (pools.account = charged.account or pools.account = '*')
    where pools.method = 'even' and charged.feature <> '__unlogged__'
),

by_weights as (
    select
        pools.key_id,
        weights.feature,
        cast(null as varchar) as team,
        cast(null as varchar) as cost_center,
        pools.account,
        '*' as model,
        '*' as service_tier,
        weights.weight as weight_usd
    from pools
    inner join ref__shared_cost_weights as weights on pools.priority = weights.priority
    where pools.method = 'weights'
),

claims as (
    select * from by_token_cost
    where weight_usd > 0
    union all
    select * from by_meter
    where weight_usd > 0
    union all
    select * from evenly
    union all
    select * from by_weights
    where weight_usd > 0
),

claimed as (
    select distinct key_id
    from claims
),

unclaimed as (
    select
        pools.key_id,
        case when pools.method = 'unused' then '__unused_commitment__' else '__shared__' end as feature,
        cast(null as varchar) as team,
        cast(null as varchar) as cost_center,
        pools.account,
        '*' as model,
        '*' as service_tier,
        cast(1 as decimal(38, 12)) as weight_usd
    from pools
    left join claimed on pools.key_id = claimed.key_id
    where claimed.key_id is null
),

everyone as (
    select * from claims
    union all
    select * from unclaimed
)

select
    pools.key_id,
    pools.usage_date,
    pools.charge_kind,
    cast(pools.billed_cost_usd as decimal(38, 12)) as billed_cost_usd,
    cast(pools.effective_cost_usd as decimal(38, 12)) as effective_cost_usd,
    everyone.feature,
    everyone.team,
    everyone.cost_center,
    pools.provider,
    everyone.account,
    everyone.model,
    everyone.service_tier,
    '*' as component,
    cast(everyone.weight_usd as decimal(38, 12)) as weight_usd
from pools
inner join everyone on pools.key_id = everyone.key_id
