"""One call counts once: exact de-duplication of requests, each UTC day by itself and the day before.

What lives here: which of several rows with one request id carries the call. What does not: reading or writing
partitions.
Ids are compared in full; a 64-bit hash only finds the few candidates. The outcome depends on the set of rows alone, not
on their order: precedence of the source, then the source's merge rule, then time, then file and record number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from pipelines.connectors.base import MergeRule
from pipelines.contracts.fields import polars_schema
from pipelines.contracts.usage import CoreUsage

LOWEST_PRECEDENCE = 1_000
MOST_CANDIDATES = 250_000
"""So many rows are decided at once at most."""
KEY = ("provider", "request_id")
_CALL = ("_day", *KEY)
"""A call as one day sees it: what the day before told of it is seen on the day after."""
_NOT_CONTENT = {
    "source", "landed_file", "record_number", "part", "merge_rank", "usage_date", "started_at", *KEY,
}  # fmt: skip
CONTENT_COLUMNS = tuple(name for name in polars_schema(CoreUsage) if name not in _NOT_CONTENT)
"""What must be equal for a call told twice to be a duplicate. When it was written down is not part of it: two gateways,
or a retry over midnight, tell the same call at two moments."""
_RECORD = ("landed_file", "record_number")
FATE_SCHEMA: Mapping[str, pl.DataType] = {
    "fate": pl.String(), "kept_file": pl.String(), "kept_record_number": pl.Int64(),
}  # fmt: skip
"""What a decision adds to a row. `fate` is accepted, duplicate (same content), superseded (other content, replaced by
its source's rule) or conflict (other content where the source allows no restatement)."""


def id_hashes(frame: pl.DataFrame) -> pl.Series:
    """64-bit hashes of the request ids, for finding candidates only: equal hashes are always verified on the id."""
    return frame["request_id"].hash().alias("id_hash")


def doubtful_hashes(ordered: pl.Series, day_before: pl.Series | None = None) -> tuple[pl.Series, pl.Series]:
    """Hashes that stand more than once in a day, or that the day before holds too: their rows need a decision.

    ordered: the day's hashes, sorted: comparing neighbours is far cheaper than grouping. Gives all of them, and those
    that the day before holds.
    """
    rest = ordered.slice(1)
    repeated = rest.filter(rest == ordered.slice(0, len(rest))).unique()
    if day_before is None or not len(day_before):
        return repeated, ordered.clear()
    shared = ordered.filter(ordered.is_in(day_before.implode())).unique()
    return pl.concat([repeated, shared]).unique(), shared


def decide(
    candidates: pl.DataFrame,
    rules: Mapping[str, MergeRule],
    precedence: Mapping[str, int],
    earlier: pl.DataFrame | None = None,
) -> Iterator[pl.DataFrame]:
    """`candidates` with FATE_SCHEMA, in no order; where there are many, a share of the calls at a time.

    Comparing contents takes several times the room of the rows.

    candidates: of one day or of several, every row whose id hash is doubtful (columns of core__usage at least). rules,
    precedence: by source; a lower number wins. earlier: the rows of the days before with such hashes, whatever became
    of them: a call seen on the day before stays there, and its kept record is named from there. Rows of sources that
    merge globally by rank carry the earliest start of their call.
    """
    if len(candidates) <= MOST_CANDIDATES:
        yield _decided(candidates, rules, precedence, earlier)
        return
    shares = -(-len(candidates) // MOST_CANDIDATES) + 1
    mine = id_hashes(candidates) % shares
    theirs = None if earlier is None else id_hashes(earlier) % shares
    for share in range(shares):
        before = None if earlier is None or theirs is None else earlier.filter(theirs == share)
        yield _decided(candidates.filter(mine == share), rules, precedence, before)


def _decided(
    candidates: pl.DataFrame,
    rules: Mapping[str, MergeRule],
    precedence: Mapping[str, int],
    earlier: pl.DataFrame | None,
) -> pl.DataFrame:
    columns = candidates.columns
    pool = candidates.with_columns(pl.lit(True).alias("_is_today"), pl.col("usage_date").alias("_day"))
    if earlier is not None and len(earlier):
        told = earlier.with_columns(
            pl.lit(False).alias("_is_today"), pl.col("usage_date").dt.offset_by("1d").alias("_day")
        )
        seen = told.join(pool, on=_CALL, how="semi")
        pool = pl.concat([pool, seen], how="diagonal")
    ordered = _ranked(pool, rules, precedence).sort(
        *_CALL, "_is_today", "_precedence", "_rank", "started_at", *_RECORD, "part"
    )
    kept = ordered.group_by(_CALL, maintain_order=True).agg(
        pl.col("landed_file").first().alias("kept_file"),
        pl.col("record_number").first().alias("kept_record_number"),
        pl.col("source").first().alias("_kept_source"),
    )
    decided = ordered.join(kept, on=_CALL, how="left").with_columns(
        (
            (pl.col("landed_file") == pl.col("kept_file")) & (pl.col("record_number") == pl.col("kept_record_number"))
        ).alias("_is_kept")
    )
    fate = (
        pl.when("_is_kept")
        .then(pl.lit("accepted"))
        .when(pl.col("_is_same") | (pl.col("source") != pl.col("_kept_source")))
        .then(pl.lit("duplicate"))
        .when(pl.col("_allows_restatement") | pl.col("request_id").str.starts_with("content:"))
        .then(pl.lit("superseded"))
        .otherwise(pl.lit("conflict"))
    )
    told = _beside_kept(decided).filter("_is_today").with_columns(fate.alias("fate"))
    return told.select(*columns, *FATE_SCHEMA)


def _ranked(rows: pl.DataFrame, rules: Mapping[str, MergeRule], precedence: Mapping[str, int]) -> pl.DataFrame:
    by_rank = [source for source, rule in rules.items() if rule.on_conflict == "largest_rank"]
    first_seen = [source for source, rule in rules.items() if rule == MergeRule("global", "largest_rank")]
    allows = pl.col("source").is_in(by_rank)
    ranked = rows.with_columns(
        pl.col("source")
        .replace_strict(precedence, default=LOWEST_PRECEDENCE, return_dtype=pl.Int64)
        .alias("_precedence"),
        allows.alias("_allows_restatement"),
        pl.when(allows).then(-pl.col("merge_rank")).otherwise(0).alias("_rank"),
    )
    if not first_seen:
        return ranked
    started = pl.col("started_at").min().over([*_CALL, "source", "_is_today"])
    is_first_seen = pl.col("source").is_in(first_seen)
    return ranked.with_columns(pl.when(is_first_seen).then(started).otherwise("started_at").alias("started_at"))


def _beside_kept(decided: pl.DataFrame) -> pl.DataFrame:
    """`_is_same`: every content column equals that of the kept record's same part, compared in full, not by hash."""
    kept = decided.filter("_is_kept").select(
        *_CALL,
        "part",
        *(pl.col(name).alias(f"_kept_{name}") for name in CONTENT_COLUMNS),
        pl.lit(True).alias("_has_part"),
    )
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"_kept_{name}")) for name in CONTENT_COLUMNS)
    return (
        decided.join(kept, on=[*_CALL, "part"], how="left")
        .with_columns((same & pl.col("_has_part")).fill_null(False).alias("_is_same"))
        .select(*decided.columns, "_is_same")
    )
