/* --- toml
title = "How complete and how clean each source is"
grain = "One row per source and account folder"
key = ["source", "account"]
inputs = ["core__landed_files"]
rules = [
    "data_through is the last UTC day with any row; complete_through the last day before it of which every file was taken in whole",
    "records = accepted + quarantined + duplicate + superseded + not_usage, for every file and so for every source",
]
owner = "finops"
partition = "all"
--- */
with live as (
    select
        source,
        account,
        status,
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
)

select
    source,
    account,
    cast(sum(case when status = 'ingested' then 1 else 0 end) as bigint) as files,
    cast(sum(case when status = 'duplicate' then 1 else 0 end) as bigint) as duplicate_files,
    cast(sum(case when status = 'rejected' then 1 else 0 end) as bigint) as rejected_files,
    cast(sum(records) as bigint) as records,
    cast(sum(accepted) as bigint) as accepted,
    cast(sum(quarantined) as bigint) as quarantined,
    cast(sum(duplicate) as bigint) as duplicate,
    cast(sum(superseded) as bigint) as superseded,
    cast(sum(not_usage) as bigint) as not_usage,
    min(first_day) as data_from,
    max(last_day) as data_through,
    case
        when sum(case when status = 'rejected' then 1 else 0 end) > 0 then cast(null as date)
        else max(last_day)
    end as complete_through
from live
group by source, account
order by source, account
