"""The expected table of a benchmark log, in integers, from how the log is made and not from what any program reads.

What lives here: sums over the rows that the generator calls neither duplicate nor invalid. What does not: timing.
"""

from __future__ import annotations

import polars as pl

from benchmarks.prices import benchmark_prices
from pipelines.demo.benchmark_log import CHUNK_ROWS, BenchmarkLog

TABLE_SCHEMA: dict[str, pl.DataType] = {
    "usage_date": pl.Date(),
    "feature": pl.String(),
    "requests": pl.Int64(),
    "input_tokens": pl.Int64(),
    "cached_input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "cost_pico": pl.Int64(),
}
"""The daily feature table that every program must give. `cost_pico` is the list cost in 10⁻¹² dollars."""


def expected_table(log: BenchmarkLog) -> pl.DataFrame:
    """TABLE_SCHEMA, by day and feature, without duplicate (last of a hundred) and invalid rows (first of 1,000)."""
    prices = benchmark_prices()
    parts = []
    for first in range(0, log.rows, CHUNK_ROWS):
        stop = min(first + CHUNK_ROWS, log.rows)
        number = pl.int_range(first, stop, dtype=pl.Int64, eager=True)
        chunk = log.frame(first, stop).filter((number % 100 != 99) & (number % 1000 != 0))
        priced = chunk.join(prices, on=["provider", "model"], how="left").filter(
            (pl.col("started_at") >= pl.col("valid_from"))
            & (pl.col("valid_to").is_null() | (pl.col("started_at") < pl.col("valid_to")))
        )
        if len(priced) != len(chunk):
            raise ValueError("a row of the benchmark has no price, or two")
        cost = (
            pl.col("input_uncached_tokens") * pl.col("input_pico")
            + pl.col("cache_read_tokens") * pl.col("cache_read_pico")
            + pl.col("output_tokens") * pl.col("output_pico")
        )
        parts.append(
            priced.group_by(
                pl.col("started_at").dt.date().alias("usage_date"), pl.col("feature_tag").alias("feature")
            ).agg(
                pl.len().cast(pl.Int64).alias("requests"),
                (pl.col("input_uncached_tokens") + pl.col("cache_read_tokens")).sum().alias("input_tokens"),
                pl.col("cache_read_tokens").sum().alias("cached_input_tokens"),
                pl.col("output_tokens").sum(),
                cost.sum().alias("cost_pico"),
            )
        )
    key = ["usage_date", "feature"]
    return pl.concat(parts).group_by(key).agg(pl.all().sum()).select(list(TABLE_SCHEMA)).sort(key)
