/* --- toml
title = "Per UTC day, the roll-up holds every token and every request of the core rows"
severity = "fail"
inputs = ["core__usage", "int__usage_rollup"]
partition = "month"
--- */
with core as (
    select
        usage_date,
        sum(
            input_uncached_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
            + cache_write_30m_tokens + cache_write_12h_tokens + cache_write_unknown_tokens + input_tool_use_tokens
            + embedding_input_tokens + input_audio_tokens + input_image_tokens + input_video_tokens
            + cache_read_audio_tokens + output_tokens + output_audio_tokens + output_image_tokens
        ) as total_tokens,
        sum(requests) as requests
    from core__usage
    group by usage_date
),

rolled_up as (
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
)

select
    coalesce(core.usage_date, rolled_up.usage_date) as usage_date,
    core.total_tokens as core_tokens,
    rolled_up.total_tokens as rolled_up_tokens,
    core.requests as core_requests,
    rolled_up.requests as rolled_up_requests
from core
full outer join rolled_up on core.usage_date = rolled_up.usage_date
where
    coalesce(core.total_tokens, 0) <> coalesce(rolled_up.total_tokens, 0)
    or coalesce(core.requests, 0) <> coalesce(rolled_up.requests, 0)
order by usage_date
