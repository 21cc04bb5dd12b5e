-- The lines of a response log in the columns of a usage table: every field typed, nothing inferred.
create view requests as
select
    cast("timestamp" as timestamptz) as started_at,
    provider,
    account,
    model,
    'standard' as service_tier,
    request_id,
    feature as feature_tag,
    case
        when provider = 'anthropic' then usage.input_tokens
        when provider = 'google' then usage.prompttokencount - coalesce(usage.cachedcontenttokencount, 0)
        when provider = 'deepseek' then usage.prompt_tokens - coalesce(usage.prompt_cache_hit_tokens, 0)
        else usage.prompt_tokens - coalesce(usage.prompt_tokens_details.cached_tokens, 0)
    end as input_uncached_tokens,
    coalesce(
        usage.cache_read_input_tokens,
        usage.cachedcontenttokencount,
        usage.prompt_cache_hit_tokens,
        usage.prompt_tokens_details.cached_tokens,
        0
    ) as cache_read_tokens,
    coalesce(usage.completion_tokens, usage.output_tokens, usage.candidatestokencount) as output_tokens
from read_json(
    getvariable('log'),
    format = 'newline_delimited',
    columns = {
        'timestamp': 'VARCHAR',
        'provider': 'VARCHAR',
        'account': 'VARCHAR',
        'model': 'VARCHAR',
        'request_id': 'VARCHAR',
        'feature': 'VARCHAR',
        'usage': 'STRUCT(
            input_tokens BIGINT, cache_read_input_tokens BIGINT, output_tokens BIGINT, promptTokenCount BIGINT,
            cachedContentTokenCount BIGINT, candidatesTokenCount BIGINT, prompt_tokens BIGINT,
            prompt_cache_hit_tokens BIGINT, completion_tokens BIGINT,
            prompt_tokens_details STRUCT(cached_tokens BIGINT)
        )'
    }
)
