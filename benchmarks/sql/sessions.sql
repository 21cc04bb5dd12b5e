-- What a report of Claude Code session files needs of them, without telling copies of a message apart or pricing any.
select
    message.model,
    substr("timestamp", 1, 10) as usage_date,
    count(distinct message.id) as messages,
    sum(message.usage.input_tokens) as input_tokens,
    sum(message.usage.cache_creation_input_tokens) as cache_write_tokens,
    sum(message.usage.cache_read_input_tokens) as cache_read_tokens,
    sum(message.usage.output_tokens) as output_tokens
from read_json(
    getvariable('sessions'),
    format = 'newline_delimited',
    columns = {
        'timestamp': 'VARCHAR',
        'message': 'STRUCT(id VARCHAR, model VARCHAR, usage STRUCT(
            input_tokens BIGINT, cache_creation_input_tokens BIGINT, cache_read_input_tokens BIGINT,
            output_tokens BIGINT
        ))'
    }
)
where message.usage is not null
group by message.model, substr("timestamp", 1, 10)
