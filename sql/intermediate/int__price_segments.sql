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
    "a contract that states a price needs no public one: the list price is NULL then, and a percentage off prices nothing",
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

agreed as (
    select
        keys.key_number,
        matches.contract_id,
        matches.account,
        matches.model_specificity,
        matches.service_tier,
        matches.component as priced_as,
        matches.multiplier,
        matches.unit_price_usd,
        matches.valid_from
    from int__price_keys as keys
    inner join int__price_contract_matches as matches
        on keys.provider = matches.provider
        and keys.model = matches.model
    where
        (matches.account = '*' or matches.account = keys.account)
        and (matches.service_tier = '*' or matches.service_tier = keys.service_tier)
        and (matches.valid_from is null or matches.valid_from <= keys.segment_start)
        and (matches.valid_to is null or matches.valid_to > keys.segment_start)
),

key_names as (
    select
        key_number,
        provider,
        model as name
    from int__price_keys
    union
    select
        key_number,
        provider,
        price_model as name
    from candidates
),

stated as (
    select
        key_number,
        priced_as as component,
        priced_as,
        cast(0 as bigint) as preference
    from agreed
    where unit_price_usd is not null
    union
    select
        agreed.key_number,
        sources.component,
        agreed.priced_as,
        sources.preference
    from agreed
    inner join key_names on agreed.key_number = key_names.key_number
    inner join int__price_component_sources as sources
        on key_names.provider = sources.provider
        and key_names.name = sources.price_model
        and agreed.priced_as = sources.priced_as
    where agreed.unit_price_usd is not null
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
        cast(0 as bigint) as band_gt
    from stated
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

spans as (
    select
        bands.key_number,
        bands.component,
        bands.band_gt,
        bands.band_le,
        ranked.priced_as is not null as is_listed,
        ranked.tier_scope,
        ranked.unit_price_usd,
        ranked.price_id,
        ranked.priced_as,
        ranked.valid_from_basis,
        ranked.is_low_confidence,
        ranked.price_model,
        ranked.normaliser
    from bands
    left join ranked
        on bands.key_number = ranked.key_number
        and bands.component = ranked.component
        and bands.band_gt = ranked.band_gt
        and ranked.place = 1
),

contracts as (
    select
        spans.key_number,
        spans.component,
        spans.band_gt,
        agreed.contract_id,
        agreed.priced_as,
        agreed.multiplier,
        agreed.unit_price_usd,
        row_number() over (
            partition by spans.key_number, spans.component, spans.band_gt
            order by
                case when agreed.account = '*' then 1 else 0 end asc,
                agreed.model_specificity desc,
                case when agreed.service_tier = '*' then 1 else 0 end asc,
                case
                    when agreed.priced_as = spans.component then 0
                    when agreed.priced_as = '*' then 2
                    else 1
                end asc,
                case when spans.is_listed then 0 else stated.preference end asc,
                agreed.valid_from desc nulls last,
                agreed.contract_id asc
        ) as place
    from spans
    inner join agreed on spans.key_number = agreed.key_number
    left join stated
        on spans.key_number = stated.key_number
        and spans.component = stated.component
        and agreed.priced_as = stated.priced_as
    where
        (spans.is_listed and agreed.priced_as in ('*', spans.component, spans.priced_as))
        or (not spans.is_listed and agreed.unit_price_usd is not null and stated.component is not null)
)

select
    cast(keys.provider as varchar) as provider,
    cast(keys.account as varchar) as account,
    cast(keys.model as varchar) as model,
    cast(keys.service_tier as varchar) as service_tier,
    cast(keys.region as varchar) as region,
    keys.segment_start,
    cast(spans.component as varchar) as component,
    cast(spans.band_gt as bigint) as prompt_tokens_gt,
    cast(spans.band_le as bigint) as prompt_tokens_le,
    cast(coalesce(spans.tier_scope, 'request') as varchar) as tier_scope,
    cast(spans.unit_price_usd as decimal(38, 18)) as list_unit_price_usd,
    cast(
        case
            when contracts.contract_id is null then spans.unit_price_usd
            when contracts.unit_price_usd is not null then contracts.unit_price_usd
            else cast(spans.unit_price_usd as decimal(24, 18)) * cast(contracts.multiplier as decimal(12, 11))
        end as decimal(38, 18)
    ) as contracted_unit_price_usd,
    cast(spans.price_id as varchar) as price_id,
    cast(contracts.contract_id as varchar) as contract_id,
    cast(coalesce(spans.priced_as, contracts.priced_as) as varchar) as priced_as,
    cast(coalesce(spans.valid_from_basis, 'documented') as varchar) as valid_from_basis,
    cast(coalesce(spans.is_low_confidence, false) as boolean) as is_low_confidence,
    cast(coalesce(spans.price_model, keys.model) as varchar) as price_model,
    cast(spans.normaliser as varchar) as normaliser
from spans
inner join int__price_keys as keys on spans.key_number = keys.key_number
left join contracts
    on spans.key_number = contracts.key_number
    and spans.component = contracts.component
    and spans.band_gt = contracts.band_gt
    and contracts.place = 1
where spans.is_listed or contracts.contract_id is not null
