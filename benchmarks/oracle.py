"""The expected table of a benchmark log, in integers, from how the log is made and not from what any program reads.

What lives here: the columns that every program must give, sums over the rows that the generator calls neither duplicate
nor invalid, the comparison. What does not: timing.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.prices import benchmark_prices
from pipelines.demo.benchmark_log import CHUNK_ROWS, BenchmarkLog

KEY = ("usage_date", "feature", "provider", "account", "model", "service_tier")
TABLE_SCHEMA: dict[str, pl.DataType] = {
    "usage_date": pl.Date(),
    **{name: pl.String() for name in KEY[1:]},
    "requests": pl.Int64(),
    "input_tokens": pl.Int64(),
    "cached_input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "total_tokens": pl.Int64(),
    "cost_pico": pl.Int64(),
}
"""The daily feature table at the grain of mart__feature_cost_daily. `cost_pico` is the list cost in 10⁻¹² dollars."""


def expected_table(log: BenchmarkLog) -> pl.DataFrame:
    """TABLE_SCHEMA in the order of its key, without duplicate (last of a hundred) and invalid rows (first of 1,000)."""
    prices = benchmark_prices()
    parts = [_sums(log, prices, first, min(first + CHUNK_ROWS, log.rows)) for first in range(0, log.rows, CHUNK_ROWS)]
    return pl.concat(parts).group_by(KEY).agg(pl.all().sum()).select(list(TABLE_SCHEMA)).sort(KEY)


def _sums(log: BenchmarkLog, prices: pl.DataFrame, first: int, stop: int) -> pl.DataFrame:
    number = pl.int_range(first, stop, dtype=pl.Int64, eager=True)
    chunk = log.frame(first, stop).filter((number % 100 != 99) & (number % 1000 != 0))
    priced = chunk.join(prices, on=["provider", "model"], how="left").filter(
        (pl.col("started_at") >= pl.col("valid_from"))
        & (pl.col("valid_to").is_null() | (pl.col("started_at") < pl.col("valid_to")))
    )
    if len(priced) != len(chunk):
        raise ValueError("a row of the benchmark has no price, or two")
    uncached, read, output = (pl.col(f"{leaf}_tokens") for leaf in ("input_uncached", "cache_read", "output"))
    cost = uncached * pl.col("input_pico") + read * pl.col("cache_read_pico") + output * pl.col("output_pico")
    by = [
        pl.col("started_at").dt.date().alias("usage_date"),
        pl.col("feature_tag").alias("feature"),
        *KEY[2:],
    ]
    return priced.group_by(by).agg(
        pl.len().cast(pl.Int64).alias("requests"),
        (uncached + read).sum().alias("input_tokens"),
        read.sum().alias("cached_input_tokens"),
        output.sum(),
        (uncached + read + output).sum().alias("total_tokens"),
        cost.sum().alias("cost_pico"),
    )


def same_table(path: Path, expected: pl.DataFrame, name: str) -> None:
    """Stop, with the first rows that differ, unless the table that a program wrote is the expected one."""
    found = pl.read_parquet(path).select(list(TABLE_SCHEMA)).cast(pl.Schema(TABLE_SCHEMA)).sort(KEY)
    if found.equals(expected):
        return
    both = expected.join(found, on=KEY, how="full", suffix="_found")
    counted = [column for column in TABLE_SCHEMA if column not in KEY]
    wrong = both.filter(pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_found")) for c in counted))
    raise SystemExit(f"{name} does not give the expected table: {len(wrong)} rows differ\n{wrong.head(10)}")
