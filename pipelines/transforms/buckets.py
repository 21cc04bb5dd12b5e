"""Which file speaks for a provider bucket: the newest export that covers it, never two of them added.

What lives here: choosing among overlapping exports of provider usage and bills. What does not: parsing them.
An export is one file, or the numbered parts of one (`…-00001.csv`, `…_part2.csv`). Within one scope (source, folder,
provider, account, kind of result) the newest export that touches a bucket replaces all older ones there, also when it holds
nothing for it. Newest is by modification time of the file, then by path.
"""

from __future__ import annotations

import re

import polars as pl

_PART = re.compile(r"(?:[-_.]part[-_]?\d+|-\d{5})(?=(?:\.[a-z0-9]+)*$)", re.IGNORECASE)

SCOPE = ("source", "folder", "provider", "account", "result_kind")


def export_name(relative_path: str) -> str:
    """The path without a part number: parts of one export share it."""
    return _PART.sub("", relative_path)


def speaking_buckets(buckets: pl.DataFrame) -> pl.DataFrame:
    """The rows of `buckets` whose file speaks for them.

    buckets: SCOPE, `bucket_start`, `bucket_end`, `landed_file`, `export`, `modified_ns` (of the export's newest file),
    `is_complete`. Buckets of other width overlap too: an older day bucket gives way to a newer hour bucket inside it.
    """
    if not len(buckets):
        return buckets
    kept = []
    for _, scope in buckets.sort(*SCOPE).group_by(SCOPE, maintain_order=True):
        kept.append(_newest_first(scope))
    return pl.concat(kept)


def _newest_first(scope: pl.DataFrame) -> pl.DataFrame:
    """Complete buckets before cut-short ones (a bucket is replaced only by a complete fetch), then newest before older."""
    exports = scope.group_by("is_complete", "export").agg(pl.col("modified_ns").max())
    if len(exports) == 1:
        return scope
    exports = exports.sort(["is_complete", "modified_ns", "export"], descending=True)
    taken = scope.clear()
    for is_complete, export in exports.select("is_complete", "export").iter_rows():
        mine = scope.filter((pl.col("export") == export) & (pl.col("is_complete") == is_complete))
        if len(taken):
            mine = mine.join(_overlapped(mine, taken), on=["bucket_start", "bucket_end"], how="anti")
        taken = pl.concat([taken, mine])
    return taken


def _overlapped(mine: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    spans = taken.select(pl.col("bucket_start").alias("taken_start"), pl.col("bucket_end").alias("taken_end")).unique()
    own = mine.select("bucket_start", "bucket_end").unique()
    return (
        own.join_where(
            spans, pl.col("bucket_start") < pl.col("taken_end"), pl.col("taken_start") < pl.col("bucket_end")
        )
        .select("bucket_start", "bucket_end")
        .unique()
    )
