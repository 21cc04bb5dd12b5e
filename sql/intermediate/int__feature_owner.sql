/* --- toml
title = "Which feature owns which traffic"
grain = "One row per UTC day and distinct set of owner fields in the roll-ups"
key = ["usage_date", "source", "account", "model", "api_key_id", "feature_tag", "user_group", "session_id", "tags"]
inputs = ["int__usage_rollup", "int__meter_rollup", "ref__features"]
rules = [
    "the rule with the lowest priority number that matches wins; equal numbers: the first pattern by name",
    "no rule: the log's own feature tag is the feature; no rule and no tag: __unattributed__",
    "rules are dated: a rule counts on the days it is valid",
]
owner = "finops"
--- */
with owners as (
    select distinct
        usage_date,
        source,
        account,
        model,
        api_key_id,
        feature_tag,
        user_group,
        session_id,
        tags
    from int__usage_rollup
    union
    select distinct
        usage_date,
        source,
        account,
        model,
        api_key_id,
        feature_tag,
        user_group,
        session_id,
        tags
    from int__meter_rollup
),

numbered as (
    select
        row_number() over (
            order by
                usage_date, source, account, model, api_key_id, feature_tag, user_group, session_id, tags
        ) as owner_number,
        usage_date,
        source,
        account,
        model,
        api_key_id,
        feature_tag,
        user_group,
        session_id,
        tags
    from owners
),

matches as (
    select
        numbered.owner_number,
        rules.feature,
        rules.team,
        rules.cost_center,
        rules.priority as rule_priority,
        rules.field as rule_field,
        rules.pattern as rule_pattern,
        row_number() over (
            partition by numbered.owner_number
            order by rules.priority, rules.field, rules.pattern, rules.feature
        ) as place
    from numbered
    inner join ref__features as rules
        on (rules.valid_from is null or cast(rules.valid_from as date) <= numbered.usage_date)
        and (rules.valid_to is null or cast(rules.valid_to as date) > numbered.usage_date)
        and regexp_matches(
            case
                when rules.field = 'feature_tag' then numbered.feature_tag
                when rules.field = 'api_key_id' then numbered.api_key_id
                when rules.field = 'account' then numbered.account
                when rules.field = 'model' then numbered.model
                when rules.field = 'source' then numbered.source
                when rules.field = 'session_id' then numbered.session_id
                when rules.field = 'user_group' then numbered.user_group
                else json_extract_string(numbered.tags, '$."' || substr(rules.field, 5) || '"')
            end,
            rules.pattern_regex
        )
),

winners as (
    select
        owner_number,
        feature,
        team,
        cost_center,
        rule_priority,
        rule_field,
        rule_pattern
    from matches
    where place = 1
)

select
    numbered.usage_date,
    numbered.source,
    numbered.account,
    numbered.model,
    numbered.api_key_id,
    numbered.feature_tag,
    numbered.user_group,
    numbered.session_id,
    numbered.tags,
    coalesce(winners.feature, nullif(numbered.feature_tag, ''), '__unattributed__') as feature,
    winners.team,
    winners.cost_center,
    cast(winners.rule_priority as bigint) as rule_priority,
    winners.rule_field,
    winners.rule_pattern
from numbered
left join winners on numbered.owner_number = winners.owner_number
