-- The lines of a usage table: every column typed, nothing inferred.
create view requests as
select *
from read_csv(
    getvariable('log'),
    header = true,
    delim = ',',
    quote = '"',
    timestampformat = '%Y-%m-%dT%H:%M:%S.%fZ',
    columns = {
        'request_id': 'VARCHAR',
        'started_at': 'TIMESTAMPTZ',
        'provider': 'VARCHAR',
        'account': 'VARCHAR',
        'model': 'VARCHAR',
        'service_tier': 'VARCHAR',
        'input_uncached_tokens': 'BIGINT',
        'cache_read_tokens': 'BIGINT',
        'output_tokens': 'BIGINT',
        'feature_tag': 'VARCHAR',
        'user_id': 'VARCHAR'
    }
)
