"""The daily feature table in hand-written Polars, as fast as we know how: what is left of a job without its guarantees.

What lives here: two passes over the log, repeated ids found by their hash and verified in full, sums per integer code,
prices applied to the sums; on request every request that counts is kept as well, a synced file per day. What does not:
a contract, a quarantine, late files, anything that the next night could go on from.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl

_LEAVES = ("input_uncached_tokens", "cache_read_tokens", "output_tokens")
_BY = ("usage_date", "feature_tag", "provider", "account", "model", "service_tier", "segment")


def feature_table(log: str, prices: str, table: str, ledger: str = "") -> None:
    """Write the table of one Parquet log, and the requests that count below the folder `ledger`."""
    book = pl.read_parquet(prices)
    rows = pl.scan_parquet(log).filter(pl.col("input_uncached_tokens") >= 0)
    identity = pl.struct("provider", "request_id").hash()
    hashes = rows.select(identity.alias("id")).collect(engine="streaming")["id"].sort()
    repeated = hashes.filter(hashes == hashes.shift()).unique()
    del hashes
    is_repeated = identity.is_in(repeated.implode())
    span = rows.select(pl.col("started_at").min().alias("first"), pl.col("started_at").max().alias("last")).collect()
    edges = book["valid_from"].unique().sort()
    edges = edges.filter((edges > span["first"][0]) & (edges <= span["last"][0]))
    single = rows.filter(~is_repeated).select(*_coded(edges), *_LEAVES)
    told = rows.filter(is_repeated)
    first_told = (
        (told if ledger else told.select("request_id", "started_at", *_BY[1:6], *_LEAVES))
        .collect()
        .sort("started_at")
        .unique(subset=["provider", "request_id"], keep="first", maintain_order=True)
    )
    again = first_told.select(*_coded(edges), *_LEAVES)
    if ledger:
        _keep(Path(ledger), rows.filter(~is_repeated), first_told, span)
    sums = [
        part.group_by(_BY).agg(pl.len().cast(pl.Int64).alias("requests"), *(pl.col(leaf).sum() for leaf in _LEAVES))
        for part in (single, again.lazy())
    ]
    starts = pl.concat([span["first"], edges])
    summed = pl.concat([part.collect(engine="streaming") for part in sums])
    moments = pl.DataFrame({"segment": pl.Series(range(len(starts)), dtype=pl.UInt32), "moment": starts})
    priced = (
        summed.join(moments, on="segment")
        .join(book, on=["provider", "model"])
        .filter(
            (pl.col("moment") >= pl.col("valid_from"))
            & (pl.col("valid_to").is_null() | (pl.col("moment") < pl.col("valid_to")))
        )
    )
    uncached, read, output = (pl.col(leaf) for leaf in _LEAVES)
    priced.group_by("usage_date", pl.col("feature_tag").alias("feature"), *_BY[2:6]).agg(
        pl.col("requests").sum(),
        (uncached + read).sum().alias("input_tokens"),
        read.sum().alias("cached_input_tokens"),
        output.sum(),
        (uncached + read + output).sum().alias("total_tokens"),
        (uncached * pl.col("input_pico") + read * pl.col("cache_read_pico") + output * pl.col("output_pico"))
        .sum()
        .alias("cost_pico"),
    ).sort("usage_date", "feature", *_BY[2:6]).write_parquet(table)


def _keep(folder: Path, single: pl.LazyFrame, again: pl.DataFrame, span: pl.DataFrame) -> None:
    folder.mkdir(parents=True)
    for day in pl.date_range(span["first"][0].date(), span["last"][0].date(), eager=True):
        opens = datetime.combine(day, time(), tzinfo=UTC)
        of_day = pl.col("started_at").is_between(opens, opens + timedelta(days=1), closed="left")
        path = folder / f"{day}.parquet"
        kept = pl.concat([single.filter(of_day).collect(), again.filter(of_day)])
        kept.write_parquet(path, compression="zstd", compression_level=1, statistics=False)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def _coded(edges: pl.Series) -> list[pl.Expr]:
    """The day, the price segment (how many prices have begun by then) and the names of a request."""
    begun = sum(((pl.col("started_at") >= edge).cast(pl.UInt32) for edge in edges), pl.lit(0, dtype=pl.UInt32))
    return [pl.col("started_at").dt.date().alias("usage_date"), begun.alias("segment"), *_BY[1:6]]
