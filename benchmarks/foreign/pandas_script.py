"""The daily feature table as a user of pandas would write it, in an environment of its own; no part of the product."""

from __future__ import annotations

import sys

import pandas as pd

log_path, prices_path, table_path = sys.argv[1:4]
log = pd.read_parquet(log_path)
log = log[log.input_uncached_tokens >= 0].sort_values("started_at").drop_duplicates(["provider", "request_id"])
prices = pd.read_parquet(prices_path)
priced = log.merge(prices, on=["provider", "model"])
in_force = (priced.started_at >= priced.valid_from) & (priced.valid_to.isna() | (priced.started_at < priced.valid_to))
priced = priced[in_force]
priced["usage_date"] = priced.started_at.dt.date
priced["cost_pico"] = (
    priced.input_uncached_tokens * priced.input_pico
    + priced.cache_read_tokens * priced.cache_read_pico
    + priced.output_tokens * priced.output_pico
)
priced["input_tokens"] = priced.input_uncached_tokens + priced.cache_read_tokens
priced["total_tokens"] = priced.input_tokens + priced.output_tokens
priced = priced.rename(columns={"feature_tag": "feature"})
table = priced.groupby(["usage_date", "feature", "provider", "account", "model", "service_tier"]).agg(
    requests=("request_id", "size"),
    input_tokens=("input_tokens", "sum"),
    cached_input_tokens=("cache_read_tokens", "sum"),
    output_tokens=("output_tokens", "sum"),
    total_tokens=("total_tokens", "sum"),
    cost_pico=("cost_pico", "sum"),
)
table.reset_index().to_parquet(table_path, index=False)
