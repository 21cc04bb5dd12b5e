/* --- toml
title = "Days on which a provider's bill is complete"
grain = "One row per provider, account (`*` = any) and UTC day with a complete bill bucket"
key = ["provider", "account", "usage_date"]
inputs = ["core__fetched_buckets", "ref__sources"]
rules = [
    "a bucket counts when it begins at midnight UTC, spans the whole day and its fetch was complete; empty buckets count: missing is not zero",
]
owner = "finops"
--- */
with bill_sources as (
    select distinct source
    from ref__sources
    where role = 'bill'
)

select distinct
    buckets.provider,
    buckets.account,
    cast(buckets.bucket_start as date) as usage_date
from core__fetched_buckets as buckets
inner join bill_sources on buckets.source = bill_sources.source
where
    buckets.is_complete
    and date_trunc('day', buckets.bucket_start) = buckets.bucket_start
    and cast(buckets.bucket_end as date) > cast(buckets.bucket_start as date)
order by buckets.provider, buckets.account, usage_date
