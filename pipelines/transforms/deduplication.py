"""One call counts once: exact de-duplication of one UTC day of requests.

What lives here: which of several rows with one request id carries the call. What does not: reading or writing partitions.
Ids are compared in full; a 64-bit hash only finds the few candidates. The outcome depends on the set of rows alone, not on
their order: precedence of the source, then the source's merge rule, then time, then file and record number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.connectors.base import MergeRule
from pipelines.contracts.fields import polars_schema
from pipelines.contracts.usage import CoreDuplicates, CoreUsage

LOWEST_PRECEDENCE = 1_000
_NOT_CONTENT = {"source", "landed_file", "record_number", "part", "merge_rank", "usage_date"}
CONTENT_COLUMNS = tuple(name for name in polars_schema(CoreUsage) if name not in _NOT_CONTENT)
_RECORD = ("landed_file", "record_number")
_KEY = ("provider", "request_id")


@dataclass(frozen=True)
class MergedDay:
    """`accepted` has the columns that came in; `duplicates` those of core__duplicates; `conflicts` are rows of `accepted`'s
    shape that share a key with other content where the source allows no restatement."""

    accepted: pl.DataFrame
    duplicates: pl.DataFrame
    conflicts: pl.DataFrame


def id_hashes(frame: pl.DataFrame) -> pl.Series:
    """64-bit hashes of the request ids, for finding candidates only: equal hashes are always verified on the id."""
    return frame["request_id"].hash().alias("id_hash")


def merge_day(
    rows: pl.DataFrame,
    rules: Mapping[str, MergeRule],
    precedence: Mapping[str, int],
    seen_hashes: pl.Series | None = None,
    seen_rows: Callable[[pl.Series], pl.DataFrame] | None = None,
) -> MergedDay:
    """Decide every row of one day.

    rows: core__usage rows (plus meter columns) of one day. rules, precedence: by source; a lower number wins.
    seen_hashes: id hashes of everything seen on the day before; seen_rows: gives, for hashes, the rows `provider`,
    `request_id`, `landed_file`, `record_number` behind them. A call seen on the day before stays there.
    """
    hashes = id_hashes(rows)
    doubtful = _repeated(hashes)
    if seen_hashes is not None and len(seen_hashes):
        doubtful = pl.concat([doubtful, hashes.filter(hashes.is_in(seen_hashes.implode()))]).unique()
    if not len(doubtful):
        return MergedDay(rows, _no_duplicates(), rows.clear())
    is_doubtful = hashes.is_in(doubtful.implode())
    settled, candidates = rows.filter(~is_doubtful), rows.filter(is_doubtful)
    earlier = seen_rows(doubtful) if seen_rows is not None else None
    decided = _decide(_ranked(candidates, rules, precedence), earlier)
    columns = rows.columns
    accepted = decided.filter(pl.col("fate") == "accepted").select(columns)
    lost = decided.filter(pl.col("fate").is_in(["duplicate", "superseded"]))
    return MergedDay(
        pl.concat([settled, accepted]),
        lost.select(list(polars_schema(CoreDuplicates))),
        decided.filter(pl.col("fate") == "conflict").select(columns),
    )


def _repeated(hashes: pl.Series) -> pl.Series:
    """Hashes that occur more than once: sort and compare neighbours, far cheaper than grouping."""
    ordered = hashes.sort()
    return ordered.filter((ordered == ordered.shift(1)).fill_null(False)).unique()


def _ranked(rows: pl.DataFrame, rules: Mapping[str, MergeRule], precedence: Mapping[str, int]) -> pl.DataFrame:
    by_rank = [source for source, rule in rules.items() if rule.on_conflict == "largest_rank"]
    first_seen = [source for source, rule in rules.items() if rule == MergeRule("global", "largest_rank")]
    ranked = rows.with_columns(
        pl.col("source")
        .replace_strict(precedence, default=LOWEST_PRECEDENCE, return_dtype=pl.Int64)
        .alias("precedence"),
        pl.col("source").is_in(by_rank).alias("allows_restatement"),
        _content_hash().alias("content_hash"),
    )
    rank = pl.when(pl.col("allows_restatement")).then(-pl.col("merge_rank")).otherwise(0)
    ranked = ranked.with_columns(rank.alias("rank"))
    if first_seen:
        started = pl.col("started_at").min().over([*_KEY, "source"])
        ranked = ranked.with_columns(
            pl.when(pl.col("source").is_in(first_seen))
            .then(started)
            .otherwise(pl.col("started_at"))
            .alias("started_at")
        )
    return ranked


def _content_hash() -> pl.Expr:
    return pl.struct(CONTENT_COLUMNS).hash()


def _decide(ranked: pl.DataFrame, earlier: pl.DataFrame | None) -> pl.DataFrame:
    order = [*_KEY, "precedence", "rank", "started_at", *_RECORD, "part"]
    ordered = ranked.sort(order)
    winners = ordered.group_by(_KEY, maintain_order=True).agg(
        pl.col("landed_file").first().alias("kept_file"),
        pl.col("record_number").first().alias("kept_record_number"),
        pl.col("source").first().alias("kept_source"),
        pl.col("allows_restatement").first().alias("kept_allows"),
    )
    decided = ordered.join(winners, on=_KEY, how="left")
    is_winner = (pl.col("landed_file") == pl.col("kept_file")) & (
        pl.col("record_number") == pl.col("kept_record_number")
    )
    decided = decided.with_columns(is_winner.alias("is_winner"), pl.lit(False).alias("is_earlier"))
    if earlier is not None and len(earlier):
        before = (
            earlier.sort(_RECORD)
            .group_by(_KEY, maintain_order=True)
            .agg(
                pl.col("landed_file").first().alias("earlier_file"),
                pl.col("record_number").first().alias("earlier_record_number"),
            )
        )
        decided = decided.join(before, on=_KEY, how="left")
        moved = pl.col("earlier_file").is_not_null()
        decided = decided.with_columns(
            pl.coalesce("earlier_file", "kept_file").alias("kept_file"),
            pl.coalesce("earlier_record_number", "kept_record_number").alias("kept_record_number"),
            (pl.col("is_winner") & ~moved).alias("is_winner"),
            moved.alias("is_earlier"),
        ).drop("earlier_file", "earlier_record_number")
    content = decided.filter(pl.col("is_winner")).select(*_KEY, "part", pl.col("content_hash").alias("kept_content"))
    decided = decided.join(content, on=[*_KEY, "part"], how="left")
    same_content = (pl.col("content_hash") == pl.col("kept_content")).fill_null(False)
    other_source = pl.col("source") != pl.col("kept_source")
    fate = (
        pl.when(pl.col("is_winner"))
        .then(pl.lit("accepted"))
        .when(same_content | (other_source & ~pl.col("is_earlier")))
        .then(pl.lit("duplicate"))
        .when(pl.col("allows_restatement") | pl.col("request_id").str.starts_with("content:"))
        .then(pl.lit("superseded"))
        .otherwise(pl.lit("conflict"))
    )
    return decided.with_columns(fate.alias("fate"))


def _no_duplicates() -> pl.DataFrame:
    return pl.DataFrame(schema=polars_schema(CoreDuplicates))
