-- Reading the columns that the daily feature table needs, and the id, and touching every value.
select
    count(started_at) as rows_read,
    max(provider) as provider,
    max(account) as account,
    max(model) as model,
    max(service_tier) as service_tier,
    max(feature_tag) as feature_tag,
    sum(input_uncached_tokens) as input_uncached_tokens,
    sum(cache_read_tokens) as cache_read_tokens,
    sum(output_tokens) as output_tokens,
    bit_xor(hash(request_id)) as ids
from requests
