/* --- toml
title = "How complete and how clean each source is"
grain = "One row per source and account folder"
key = ["source", "account"]
inputs = ["core__landed_files", "core__fetched_buckets", "int__source_gaps"]
rules = [
    "data_through is the last UTC day with any row or fetched bucket",
    "complete_through: of provider usage and bills, the last day before the first one whose bucket is missing or cut short; of request logs, data_through, NULL while a file is rejected",
    "records = accepted + quarantined + duplicate + superseded + not_usage, for every file and so for every source",
    "held_files are exports of which some days are held because they shrink what was settled (reason held_shrink in core__landed_files)",
    "unpriced tokens and unexplained dollars of an account that is no folder of its source stand on the source's first folder, so that the sums are the source's",
]
owner = "finops"
partition = "all"
--- */
with live as (
    select
        landed_file,
        source,
        account,
        status,
        reason_code,
        records,
        accepted,
        quarantined,
        duplicate,
        superseded,
        not_usage,
        first_day,
        last_day
    from core__landed_files
    where status in ('ingested', 'rejected', 'duplicate')
),

counted as (
    select
        source,
        account,
        sum(case when status = 'ingested' then 1 else 0 end) as files,
        sum(case when status = 'duplicate' then 1 else 0 end) as duplicate_files,
        sum(case when status = 'rejected' then 1 else 0 end) as rejected_files,
        sum(case when status = 'ingested' and reason_code = 'held_shrink' then 1 else 0 end) as held_files,
        sum(records) as records,
        sum(accepted) as accepted,
        sum(quarantined) as quarantined,
        sum(duplicate) as duplicate,
        sum(superseded) as superseded,
        sum(not_usage) as not_usage,
        min(first_day) as data_from,
        max(last_day) as data_through
    from live
    group by source, account
),

bucket_days as (
    select
        live.source,
        live.account,
        cast(buckets.bucket_start as date) as usage_date,
        min(case when buckets.is_complete then 1 else 0 end) as is_complete
    from core__fetched_buckets as buckets
    inner join live on buckets.landed_file = live.landed_file and buckets.source = live.source
    where buckets.result_kind not like 'cost_outside%' and live.status = 'ingested'
    group by live.source, live.account, cast(buckets.bucket_start as date)
),

first_days as (
    select
        source,
        account,
        min(usage_date) as first_day
    from bucket_days
    group by source, account
),

runs as (
    select
        bucket_days.source,
        bucket_days.account,
        bucket_days.usage_date,
        datediff('day', first_days.first_day, bucket_days.usage_date) as days_after_first,
        row_number() over (
            partition by bucket_days.source, bucket_days.account order by bucket_days.usage_date
        ) - 1 as complete_days_before
    from bucket_days
    inner join first_days
        on bucket_days.source = first_days.source and bucket_days.account = first_days.account
    where bucket_days.is_complete = 1
),

reached as (
    select
        first_days.source,
        first_days.account,
        max(case when runs.days_after_first = runs.complete_days_before then runs.usage_date end) as complete_through
    from first_days
    left join runs on first_days.source = runs.source and first_days.account = runs.account
    group by first_days.source, first_days.account
),

folders as (
    select
        source,
        coalesce(min(case when account = 'default' then account end), min(account)) as first_folder
    from counted
    group by source
),

gaps as (
    select
        gaps.source,
        coalesce(counted.account, folders.first_folder) as account,
        sum(gaps.unpriced_tokens) as unpriced_tokens,
        sum(gaps.unexplained_usd) as unexplained_usd
    from int__source_gaps as gaps
    inner join folders on gaps.source = folders.source
    left join counted on gaps.source = counted.source and gaps.account = counted.account
    group by gaps.source, coalesce(counted.account, folders.first_folder)
)

select
    counted.source,
    counted.account,
    cast(counted.files as bigint) as files,
    cast(counted.duplicate_files as bigint) as duplicate_files,
    cast(counted.rejected_files as bigint) as rejected_files,
    cast(counted.held_files as bigint) as held_files,
    cast(counted.records as bigint) as records,
    cast(counted.accepted as bigint) as accepted,
    cast(counted.quarantined as bigint) as quarantined,
    cast(counted.duplicate as bigint) as duplicate,
    cast(counted.superseded as bigint) as superseded,
    cast(counted.not_usage as bigint) as not_usage,
    counted.data_from,
    counted.data_through,
    case
        when reached.source is not null then reached.complete_through
        when counted.rejected_files = 0 then counted.data_through
    end as complete_through,
    cast(coalesce(gaps.unpriced_tokens, 0) as bigint) as unpriced_tokens,
    cast(coalesce(gaps.unexplained_usd, 0) as decimal(38, 12)) as unexplained_usd
from counted
left join reached on counted.source = reached.source and counted.account = reached.account
left join gaps on counted.source = gaps.source and counted.account = gaps.account
