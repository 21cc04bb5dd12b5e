"""Rolling one day of requests up to the grain of prices and owners.

What lives here: pure functions from core rows to roll-up rows. What does not: prices themselves (price_book.py), which
days need it (build/rollup_days.py). After this step nothing reads a log again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import polars as pl

from pipelines.contracts.fields import MOST_TOKENS, conform
from pipelines.contracts.rollup import IntMeterRollup, IntUsageRollup
from pipelines.errors import ContractError
from pipelines.pieces import narrow
from pipelines.quantities import INPUT_LEAF_COLUMNS, TOKEN_COLUMNS

SELF_HOSTED = "self_hosted"
FEW_VALUES = 50
"""A tag key with at most this many values a day is kept even when no rule reads it: it shows what a rule could
catch."""

_OWNER = ["source", "provider", "account", "model", "service_tier", "region", "feature_tag", "api_key_id", "user_group",
          "session_id", "tags", "status"]  # fmt: skip
KEY = ["usage_date", "segment_start", *_OWNER]
READ = ["usage_date", "started_at", *_OWNER, *TOKEN_COLUMNS, "requests", "reported_cost_usd"]
"""Columns of core__usage that the roll-up reads."""


@dataclass(frozen=True)
class Grain:
    """What the roll-up must keep apart.

    edges: `provider`, `model`, `edge` (UTC instants inside the day at which a price changes). thresholds: prompt sizes
    above
    which a context band begins. tag_keys: tag keys that rules read. keeps_sessions: whether a rule reads session ids.
    """

    edges: pl.DataFrame
    thresholds: tuple[int, ...] = ()
    tag_keys: frozenset[str] = field(default_factory=frozenset)
    keeps_sessions: bool = False


def roll_up_usage(usage: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    """int__usage_rollup of one day from its core__usage rows (READ of their columns are enough)."""
    _refuse_overflow(usage)
    narrowed = narrow(usage.select(READ))
    constants = narrowed.constants
    counts = [name for name in (*TOKEN_COLUMNS, "requests") if name in narrowed.varying.columns]
    band = _band(constants, [name for name in INPUT_LEAF_COLUMNS if name in counts], grain.thresholds)
    is_reported = pl.col("reported_cost_usd").is_not_null()
    keyed = _keyed(narrowed.frame(READ), grain).with_columns(
        band.alias("context_band_gt"),
        pl.when(is_reported).then(pl.lit("reported")).otherwise(pl.lit("book")).alias("price_basis"),
    )
    key = [*KEY, "context_band_gt", "price_basis"]
    # Grouping costs by the column: what is the same all day long is put back afterwards.
    summed = (
        narrow(keyed.select(*key, *counts, "reported_cost_usd"))
        .grouped(
            key,
            [
                pl.len().cast(pl.Int64).alias("rows"),
                *(pl.col(name).sum() for name in counts),
                pl.col("reported_cost_usd").sum(),
                is_reported.any().alias("has_reported"),
            ],
        )
        .with_columns(
            *(
                (pl.col("rows") * constants[name].item()).alias(name)
                for name in (*TOKEN_COLUMNS, "requests")
                if name not in counts
            ),
            pl.when("has_reported").then(pl.col("reported_cost_usd")).alias("reported_cost_usd"),
        )
    )
    return conform(summed, IntUsageRollup).sort(key, nulls_last=True)


def _band(constants: pl.DataFrame, inputs: Sequence[str], thresholds: Sequence[int]) -> pl.Expr:
    """The largest threshold that the whole prompt exceeds. `inputs` are the input columns that are not constant."""
    same = sum(constants[name].item() for name in INPUT_LEAF_COLUMNS if name in constants.columns)
    prompt = pl.sum_horizontal(*inputs, pl.lit(same, dtype=pl.Int64))
    band = pl.lit(0, dtype=pl.Int64)
    for threshold in sorted(thresholds):
        band = pl.when(prompt > threshold).then(pl.lit(threshold, dtype=pl.Int64)).otherwise(band)
    return band


def roll_up_meters(meters: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    """int__meter_rollup of one day from its core__meters rows."""
    keyed = _keyed(meters.with_columns(pl.lit("success").alias("status")), grain)
    key = [*KEY, "meter"]
    return conform(keyed.group_by(key).agg(pl.col("quantity").sum()), IntMeterRollup).sort(key, nulls_last=True)


def _refuse_overflow(usage: pl.DataFrame) -> None:
    """Integer sums wrap in silence: refuse a day whose largest count could overflow one."""
    if not len(usage):
        return
    largest = max(int(value) for value in usage.select(pl.col(TOKEN_COLUMNS).max()).row(0))
    if largest * len(usage) >= 2**63:
        raise ContractError(
            f"token sums of {len(usage):,} rows of up to {largest:,} tokens could overflow",
            where=f"core__usage {usage['usage_date'][0]}",
            expected=f"counts far below {MOST_TOKENS:,}",
            next_move="look for a unit error in the file with the largest counts",
        )


def _keyed(rows: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    session = pl.col("session_id") if grain.keeps_sessions else pl.lit(None, dtype=pl.String)
    return _with_segments(_with_kept_tags(rows, grain.tag_keys), grain.edges).with_columns(session.alias("session_id"))


def _with_segments(rows: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Self-hosted rows are cut by hour, because the ledger that prices them is: every hour is a price edge of
    theirs."""
    start = pl.col("usage_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    hour = pl.col("started_at").dt.truncate("1h")
    is_own = pl.col("provider") == SELF_HOSTED
    cut = pl.when(is_own).then(hour).otherwise(start) if rows.select(is_own.any()).item() else start
    whole = rows.with_columns(cut.alias("segment_start"))
    if not len(edges):
        return whole
    pair = ["provider", "model"]
    changing = whole.join(edges.select(pair).unique(), on=pair, how="semi")
    if not len(changing):
        return whole
    steady = whole.join(edges.select(pair).unique(), on=pair, how="anti")
    placed = changing.sort("started_at").join_asof(
        edges.sort("edge"), left_on="started_at", right_on="edge", by=pair, strategy="backward", check_sortedness=False
    )
    placed = placed.with_columns(pl.max_horizontal("edge", "segment_start").alias("segment_start")).select(
        whole.columns
    )
    return pl.concat([steady, placed])


def _with_kept_tags(rows: pl.DataFrame, tag_keys: Collection[str]) -> pl.DataFrame:
    """`tags` reduced to the keys that rules read, and those with few values; work is done once per distinct text."""
    if rows["tags"].null_count() == len(rows):
        return rows
    texts = rows["tags"].drop_nulls().unique().sort()
    parsed = [json.loads(text) for text in texts]
    kept = {*tag_keys, *_few_valued(parsed)}
    short = [_tag_text({key: value for key, value in tags.items() if key in kept}) for tags in parsed]
    return rows.with_columns(pl.col("tags").replace(texts, pl.Series(short, dtype=pl.String)))


def _few_valued(parsed: Sequence[dict[str, str]]) -> set[str]:
    values: dict[str, set[str]] = {}
    many: set[str] = set()
    for tags in parsed:
        for key, value in tags.items():
            if key in many:
                continue
            known = values.setdefault(key, set())
            known.add(str(value))
            if len(known) > FEW_VALUES:
                many.add(key)
                del values[key]
    return set(values)


def _tag_text(tags: dict[str, str]) -> str | None:
    return json.dumps(tags, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if tags else None
