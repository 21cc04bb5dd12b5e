/* --- toml
title = "Per UTC day, the daily feature cost holds every token and every request of the roll-up"
severity = "fail"
inputs = ["int__usage_rollup", "int__feature_cost_daily"]
partition = "month"
--- */
with rolled_up as (
    select
        usage_date,
        sum(
            input_uncached_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
            + cache_write_30m_tokens + cache_write_12h_tokens + cache_write_unknown_tokens + input_tool_use_tokens
            + embedding_input_tokens + input_audio_tokens + input_image_tokens + input_video_tokens
            + cache_read_audio_tokens + output_tokens + output_audio_tokens + output_image_tokens
        ) as total_tokens,
        sum(requests) as requests
    from int__usage_rollup
    group by usage_date
),

mart as (
    select
        usage_date,
        sum(total_tokens) as total_tokens,
        sum(requests) as requests
    from int__feature_cost_daily
    group by usage_date
)

select
    coalesce(rolled_up.usage_date, mart.usage_date) as usage_date,
    rolled_up.total_tokens as rolled_up_tokens,
    mart.total_tokens as mart_tokens,
    rolled_up.requests as rolled_up_requests,
    mart.requests as mart_requests
from rolled_up
full outer join mart on rolled_up.usage_date = mart.usage_date
where
    coalesce(rolled_up.total_tokens, 0) <> coalesce(mart.total_tokens, 0)
    or coalesce(rolled_up.requests, 0) <> coalesce(mart.requests, 0)
order by usage_date
