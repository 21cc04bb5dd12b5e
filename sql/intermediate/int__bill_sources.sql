/* --- toml
title = "Which bill source counts for each provider, account and day"
grain = "One row per provider, account (`*` = any), UTC day and bill source that counts there"
key = ["usage_date", "source", "provider", "account"]
inputs = ["core__billing", "core__fetched_buckets", "ref__sources"]
rows_from = ["core__billing", "core__fetched_buckets"]
rules = [
    "one bill source counts per provider, account and day, the one with the lowest precedence number; others are controls",
    "a source whose fetch of the day was cut short, or that shows lines without a bucket, gives way to one that is complete",
    "a bucket counts as complete when it begins at midnight UTC, spans the whole day and its fetch was complete; empty buckets count: missing is not zero",
    "a row of sources.csv for the account speaks before one for the provider, before one for any",
]
owner = "finops"
--- */
with roles as (
    select
        source,
        provider,
        account,
        precedence,
        role
    from ref__sources
    where role in ('bill', 'control')
),

known as (
    select distinct source
    from roles
),

told as (
    select
        buckets.source,
        buckets.provider,
        buckets.account,
        cast(buckets.bucket_start as date) as usage_date,
        case
            when
                buckets.is_complete
                and date_trunc('day', buckets.bucket_start) = buckets.bucket_start
                and cast(buckets.bucket_end as date) > cast(buckets.bucket_start as date)
                then 1
            else 0
        end as is_complete
    from core__fetched_buckets as buckets
    union all
    select
        source,
        provider,
        account,
        usage_date,
        0 as is_complete
    from core__billing
),

witnesses as (
    select
        told.source,
        told.provider,
        told.account,
        told.usage_date,
        max(told.is_complete) as is_complete
    from told
    inner join known on told.source = known.source
    group by told.source, told.provider, told.account, told.usage_date
),

ranked as (
    select
        witnesses.source,
        witnesses.provider,
        witnesses.account,
        witnesses.usage_date,
        witnesses.is_complete,
        roles.precedence,
        roles.role,
        row_number() over (
            partition by witnesses.source, witnesses.provider, witnesses.account, witnesses.usage_date
            order by
                case when roles.account = witnesses.account then 0 else 1 end,
                case when roles.provider = witnesses.provider then 0 else 1 end,
                roles.precedence
        ) as place
    from witnesses
    inner join roles
        on witnesses.source = roles.source
        and roles.provider in (witnesses.provider, '*')
        and roles.account in (witnesses.account, '*')
),

standing as (
    select
        source,
        provider,
        account,
        usage_date,
        is_complete,
        precedence
    from ranked
    where place = 1 and role = 'bill'
),

beaten as (
    select distinct
        loser.source,
        loser.provider,
        loser.account,
        loser.usage_date
    from standing as loser
    inner join standing as winner
        on loser.provider = winner.provider
        and loser.usage_date = winner.usage_date
        and loser.source <> winner.source
        and (
            loser.is_complete < winner.is_complete
            or (loser.is_complete = winner.is_complete and loser.precedence > winner.precedence)
            or (
                loser.is_complete = winner.is_complete
                and loser.precedence = winner.precedence
                and loser.source > winner.source
            )
        )
        and (winner.account = loser.account or winner.account = '*' or loser.account = '*')
)

select
    standing.usage_date,
    standing.source,
    standing.provider,
    standing.account,
    standing.is_complete = 1 as is_complete
from standing
left join beaten
    on standing.source = beaten.source
    and standing.provider = beaten.provider
    and standing.account = beaten.account
    and standing.usage_date = beaten.usage_date
where beaten.source is null
