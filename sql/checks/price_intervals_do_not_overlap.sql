/* --- toml
title = "Within one layer and key of the price book, intervals are half-open, not empty, and do not overlap"
severity = "fail"
inputs = ["ref__price_book"]
--- */
with ordered as (
    select
        price_id,
        valid_from,
        valid_to,
        lead(price_id) over (
            partition by
                layer_rank, provider, model, region, service_tier, component, prompt_tokens_gt, schedule
            order by valid_from, price_id
        ) as next_price_id,
        lead(valid_from) over (
            partition by
                layer_rank, provider, model, region, service_tier, component, prompt_tokens_gt, schedule
            order by valid_from, price_id
        ) as next_valid_from
    from ref__price_book
)

select
    price_id,
    valid_from,
    valid_to,
    next_price_id,
    next_valid_from
from ordered
where
    valid_to <= valid_from
    or (next_price_id is not null and (valid_to is null or valid_to > next_valid_from))
order by price_id
