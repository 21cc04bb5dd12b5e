/* --- toml
title = "Price of every component for each priced moment"
grain = "One row per provider, account, model, service_tier, region, segment_start, component and context band; bands are disjoint"
key = ["provider", "account", "model", "service_tier", "region", "segment_start", "component", "prompt_tokens_gt"]
inputs = [
    "int__price_keys", "int__model_candidates", "ref__price_book", "int__price_component_sources", "int__price_schedule_hits",
    "int__price_contract_matches",
]
rules = [
    "the price in force at the start of the segment, never a later one",
    "exact model id before aliases before normalisers; candidates of one name are never mixed",
    "a component's own price before the one it is billed like",
    "layer, then exact region, exact model, schedule, narrowest band, latest knowledge",
    "the most specific contract wins: account, model, tier, component, latest start",
]
owner = "finops"
--- */
with candidates as (
    select
        keys.key_number,
        keys.provider,
        keys.account,
        keys.model,
        keys.service_tier,
        keys.region,
        keys.segment_start,
        names.candidate_rank,
        names.price_provider,
        names.price_model,
        coalesce(names.price_region, keys.region) as price_region,
        coalesce(names.price_tier_override, keys.service_tier) as price_tier,
        names.normaliser
    from int__price_keys as keys
    inner join int__model_candidates as names
        on keys.provider = names.provider
        and keys.model = names.model
        and (names.region is null or names.region = keys.region)
        and (names.valid_from is null or names.valid_from <= keys.segment_start)
        and (names.valid_to is null or names.valid_to > keys.segment_start)
),

in_force as (
    select
        candidates.key_number,
        candidates.candidate_rank,
        candidates.price_model,
        candidates.normaliser,
        book.price_id,
        book.region as row_region,
        book.component as priced_as,
        book.prompt_tokens_gt,
        book.prompt_tokens_le,
        book.tier_scope,
        book.schedule,
        book.valid_from_basis,
        book.recorded_at,
        book.layer_rank,
        book.unit_price_usd,
        case
            when book.valid_from_basis in ('backcast', 'first_observed')
                then candidates.segment_start < book.recorded_at
            else false
        end as is_low_confidence
    from candidates
    inner join ref__price_book as book
        on candidates.price_provider = book.provider
        and candidates.price_model = book.model
        and candidates.price_tier = book.service_tier
        and candidates.segment_start >= book.valid_from
    left join int__price_schedule_hits as hits
        on book.schedule = hits.schedule
        and candidates.segment_start = hits.segment_start
    where
        (book.valid_to is null or book.valid_to > candidates.segment_start)
        and (book.region = '*' or book.region = candidates.price_region)
        and (book.schedule is null or hits.schedule is not null)
),

best_candidates as (
    select
        key_number,
        min(candidate_rank) as candidate_rank
    from in_force
    where price_model <> '*'
    group by key_number
),

chosen as (
    select in_force.*
    from in_force
    left join best_candidates on in_force.key_number = best_candidates.key_number
    where in_force.price_model = '*' or in_force.candidate_rank = best_candidates.candidate_rank
),

by_component as (
    select
        chosen.*,
        chosen.priced_as as component,
        cast(0 as bigint) as preference
    from chosen
    union all
    select
        chosen.*,
        sources.component,
        sources.preference
    from chosen
    inner join int__price_component_sources as sources
        on chosen.price_model = sources.price_model
        and chosen.priced_as = sources.priced_as
    inner join int__price_keys as keys
        on chosen.key_number = keys.key_number
        and sources.provider = keys.provider
),

preferred as (
    select
        key_number,
        component,
        min(preference) as preference
    from by_component
    group by
        key_number,
        component
),

offers as (
    select by_component.*
    from by_component
    inner join preferred
        on by_component.key_number = preferred.key_number
        and by_component.component = preferred.component
        and by_component.preference = preferred.preference
),

cuts as (
    select
        key_number,
        component,
        prompt_tokens_gt as band_gt
    from offers
    union
    select
        key_number,
        component,
        prompt_tokens_le as band_gt
    from offers
    where prompt_tokens_le is not null
),

bands as (
    select
        key_number,
        component,
        band_gt,
        lead(band_gt) over (
            partition by key_number, component
            order by band_gt
        ) as band_le
    from cuts
),

ranked as (
    select
        offers.*,
        bands.band_gt,
        bands.band_le,
        row_number() over (
            partition by bands.key_number, bands.component, bands.band_gt
            order by
                offers.layer_rank asc,
                case when offers.row_region = '*' then 1 else 0 end asc,
                case when offers.price_model = '*' then 1 else 0 end asc,
                case when offers.schedule is null then 1 else 0 end asc,
                offers.prompt_tokens_gt desc,
                offers.recorded_at desc,
                offers.price_id asc
        ) as place
    from bands
    inner join offers
        on bands.key_number = offers.key_number
        and bands.component = offers.component
        and bands.band_gt >= offers.prompt_tokens_gt
    where offers.prompt_tokens_le is null or bands.band_le <= offers.prompt_tokens_le
),

listed as (
    select
        keys.provider,
        keys.account,
        keys.model,
        keys.service_tier,
        keys.region,
        keys.segment_start,
        ranked.*
    from ranked
    inner join int__price_keys as keys on ranked.key_number = keys.key_number
    where ranked.place = 1
),

contracts as (
    select
        listed.key_number,
        listed.component,
        listed.band_gt,
        matches.contract_id,
        matches.multiplier,
        matches.unit_price_usd as contract_unit_price_usd,
        row_number() over (
            partition by listed.key_number, listed.component, listed.band_gt
            order by
                case when matches.account = '*' then 1 else 0 end asc,
                matches.model_specificity desc,
                case when matches.service_tier = '*' then 1 else 0 end asc,
                case
                    when matches.component = listed.component then 0
                    when matches.component = '*' then 2
                    else 1
                end asc,
                matches.valid_from desc nulls last,
                matches.contract_id asc
        ) as place
    from listed
    inner join int__price_contract_matches as matches
        on listed.provider = matches.provider
        and listed.model = matches.model
    where
        (matches.account = '*' or matches.account = listed.account)
        and (matches.service_tier = '*' or matches.service_tier = listed.service_tier)
        and (matches.component in ('*', listed.component, listed.priced_as))
        and (matches.valid_from is null or matches.valid_from <= listed.segment_start)
        and (matches.valid_to is null or matches.valid_to > listed.segment_start)
)

select
    cast(listed.provider as varchar) as provider,
    cast(listed.account as varchar) as account,
    cast(listed.model as varchar) as model,
    cast(listed.service_tier as varchar) as service_tier,
    cast(listed.region as varchar) as region,
    listed.segment_start,
    cast(listed.component as varchar) as component,
    cast(listed.band_gt as bigint) as prompt_tokens_gt,
    cast(listed.band_le as bigint) as prompt_tokens_le,
    cast(listed.tier_scope as varchar) as tier_scope,
    cast(listed.unit_price_usd as decimal(38, 18)) as list_unit_price_usd,
    cast(
        case
            when contracts.contract_id is null then listed.unit_price_usd
            when contracts.contract_unit_price_usd is not null then contracts.contract_unit_price_usd
            else cast(listed.unit_price_usd as decimal(24, 18)) * cast(contracts.multiplier as decimal(12, 11))
        end as decimal(38, 18)
    ) as contracted_unit_price_usd,
    cast(listed.price_id as varchar) as price_id,
    cast(contracts.contract_id as varchar) as contract_id,
    cast(listed.priced_as as varchar) as priced_as,
    cast(listed.valid_from_basis as varchar) as valid_from_basis,
    cast(listed.is_low_confidence as boolean) as is_low_confidence,
    cast(listed.price_model as varchar) as price_model,
    cast(listed.normaliser as varchar) as normaliser
from listed
left join contracts
    on listed.key_number = contracts.key_number
    and listed.component = contracts.component
    and listed.band_gt = contracts.band_gt
    and contracts.place = 1
order by
    listed.provider,
    listed.account,
    listed.model,
    listed.service_tier,
    listed.region,
    listed.segment_start,
    listed.component,
    listed.band_gt
