"""Core buckets: provider usage and bills, cut by UTC day, each bucket told by exactly one export.

What lives here: writing core__provider_usage, core__billing and core__fetched_buckets for the days that changed.
What does not: request logs (days.py), which export speaks (transforms/buckets.py), money rules (sql/).
Every live file's own rows stand in lake/parsed__<table>; a day is always written again from all files that touch it.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pipelines.contracts.fields import empty, polars_schema
from pipelines.contracts.usage import CoreFetchedBuckets
from pipelines.core.held_exports import release, released_files, set_held_days
from pipelines.intake.landing import Ledger
from pipelines.intake.reading import PARSED_TABLES
from pipelines.intake.staging import Progress, mark_for_rebuild, pending_files, pending_rebuilds
from pipelines.lake import MOST_WAITING, Lake
from pipelines.quantities import LEAF_COLUMNS
from pipelines.settings import Settings
from pipelines.transforms.buckets import SCOPE, Speakers, choose_speakers, export_name

BUCKETS = "core__fetched_buckets"
_INSTANT = pl.Datetime("us", "UTC")
_DAY_BUCKETED = ("focus",)
"""Sources whose rows are finer than their buckets: a row belongs to the day bucket that holds its start."""


def merge_bucket_days(settings: Settings, rebuild: Iterable[str] = (), progress: Progress | None = None) -> list[str]:
    """Write the days that pending files touch, those marked and those given. Returns the days written, in order.

    The caller holds the lake's lock and clears what was pending.
    """
    lake = Lake(settings.lake)
    ledger = Ledger(lake)
    days = {*rebuild, *pending_rebuilds(lake).get(BUCKETS, set())}
    for table in PARSED_TABLES:
        days |= pending_rebuilds(lake).get(table, set())
    for landed_file in pending_files(lake):
        days |= _remember_days(lake, ledger, landed_file)
    ordered = sorted(days)
    chosen = _speakers(lake, ledger, ordered)
    speakers = chosen.speaking
    held = chosen.held.select("landed_file", pl.col("bucket_start").dt.date().cast(pl.String)).unique()
    set_held_days(lake, ordered, held.rows())
    counts: dict[str, dict[str, Counts]] = {table: {} for table in PARSED_TABLES}
    with lake.replacing() as replacement:
        for number, day in enumerate(ordered):
            if progress:
                progress(f"bills and provider usage of {day}", number, len(ordered))
            if len(replacement) >= MOST_WAITING:
                replacement.commit()
            mine = speakers.filter(pl.col("bucket_start").dt.date().cast(pl.String) == day)
            told = mine.select(list(polars_schema(CoreFetchedBuckets)))
            replacement.write(BUCKETS, day, told, CoreFetchedBuckets)
            for table in PARSED_TABLES:
                spoken, counts[table][day] = _told_on(lake, ledger, table, day, mine)
                replacement.write(table, day, spoken, PARSED_TABLES[table][0])
    for table, days_counted in counts.items():
        ledger.set_day_counts(table, days_counted)
    return ordered


def release_held(settings: Settings, landed_file: str) -> list[str]:
    """Let a held export speak: its held days are written again by the next merge. Returns these days, in order.

    Raises NotFoundError for a file of which nothing is held.
    """
    lake = Lake(settings.lake)
    with lake.writing():
        days = release(lake, landed_file)
        mark_for_rebuild(lake, {BUCKETS: set(days)})
    return days


def _remember_days(lake: Lake, ledger: Ledger, landed_file: str) -> set[str]:
    buckets = lake.read(f"parsed__{BUCKETS}", landed_file)
    if buckets is None:
        return set()
    days = buckets.select(pl.col("bucket_start").dt.date().cast(pl.String).alias("day"))["day"].unique().to_list()
    ledger.add_bucket_days(BUCKETS, landed_file, days)
    return set(days)


def _speakers(lake: Lake, ledger: Ledger, days: list[str]) -> Speakers:
    """Speaking and held buckets of all files that touch the days, with the identity of their file."""
    files = ledger.files_touching((BUCKETS,), days)
    frames = [frame for file in files if (frame := lake.read(f"parsed__{BUCKETS}", file)) is not None]
    if not frames:
        return Speakers(empty(CoreFetchedBuckets), empty(CoreFetchedBuckets))
    described = pl.DataFrame(
        [(file, folder, export_name(path), modified) for file, folder, path, modified in ledger.described(files)],
        schema={"landed_file": pl.String, "folder": pl.String, "export": pl.String, "modified_ns": pl.Int64},
        orient="row",
    )
    buckets = pl.concat(frames).join(described, on="landed_file")
    buckets = buckets.filter(pl.col("bucket_start").dt.date().cast(pl.String).is_in(days))
    newest = pl.col("modified_ns").max().over("source", "export")
    is_released = pl.col("landed_file").is_in(released_files(lake)).alias("is_released")
    told = buckets.join(_told(lake, files), on=_BUCKET, how="left").with_columns(pl.col("told").fill_null(0))
    chosen = choose_speakers(told.with_columns(newest.alias("modified_ns"), is_released))
    order = [*SCOPE, "bucket_start", "bucket_end", "landed_file"]
    return Speakers(chosen.speaking.sort(order), chosen.held.sort(order))


_BUCKET = ["landed_file", "provider", "account", "result_kind", "bucket_start"]


def _told(lake: Lake, files: list[str]) -> pl.DataFrame:
    """What each file tells per bucket: positive amounts of a bill (its lines are of no endpoint), tokens of usage."""
    amount = pl.Decimal(38, 12)
    told = [pl.DataFrame(schema={**dict.fromkeys(_BUCKET[:4], pl.String()), "bucket_start": _INSTANT, "told": amount})]
    for file in files:
        bill = lake.read("parsed__core__billing", file)
        if bill is not None:
            kinds = lake.read(f"parsed__{BUCKETS}", file)
            start = _bucket_start(pl.col("charge_period_start")).alias("bucket_start")
            paid = pl.col("billed_cost_in_currency").clip(lower_bound=0).alias("told")
            keys = empty(CoreFetchedBuckets).select(_BUCKET) if kinds is None else kinds.select(_BUCKET).unique()
            told.append(
                bill.select("source", *_BUCKET[:3], start, paid)
                .drop("source")
                .join(keys, on=[*_BUCKET[:3], "bucket_start"])
                .select(*_BUCKET, pl.col("told").cast(amount))
            )
        usage = lake.read("parsed__core__provider_usage", file)
        if usage is not None:
            tokens = pl.sum_horizontal(list(LEAF_COLUMNS)).cast(amount).alias("told")
            told.append(usage.select(*_BUCKET, tokens))
    return pl.concat(told).group_by(_BUCKET).agg(pl.col("told").sum())


def _bucket_start(instant: pl.Expr) -> pl.Expr:
    """The start of the bucket that a row belongs to."""
    return pl.when(pl.col("source").is_in(_DAY_BUCKETED)).then(instant.dt.truncate("1d")).otherwise(instant)


Counts = list[tuple[str, int, int, int, int]]
"""(landed_file, accepted, duplicate, superseded, quarantined)."""


def _told_on(lake: Lake, ledger: Ledger, table: str, day: str, speakers: pl.DataFrame) -> tuple[pl.DataFrame, Counts]:
    """The rows of one day that count, and what became of the records of each file."""
    contract, instant = PARSED_TABLES[table]
    files = ledger.files_touching((BUCKETS,), [day])
    frames = [frame for file in files if (frame := lake.read(f"parsed__{table}", file)) is not None]
    rows = pl.concat([empty(contract), *frames]).filter(pl.col("usage_date").cast(pl.String) == day)
    kind = [name for name in ("result_kind",) if name in rows.columns]
    keyed = rows.with_columns(_bucket_start(pl.col(instant)).alias("bucket_start_key"))
    key = ["landed_file", "provider", "account", *kind]
    speaking = speakers.select(*key, pl.col("bucket_start").alias("bucket_start_key")).unique()
    told = keyed.join(speaking, on=[*key, "bucket_start_key"], how="inner")
    # One record may hold tokens and meters, a row each: whole rows are compared, and records are counted.
    part = [name for name in ("meter",) if name in rows.columns]
    spoken = told.select(rows.columns).unique().sort("landed_file", "record_number", *part)
    total = rows.group_by("landed_file").agg(pl.col("record_number").n_unique().alias("rows"))
    kept = spoken.group_by("landed_file").agg(pl.col("record_number").n_unique().alias("kept"))
    spoken_for = pl.col("kept").fill_null(0).cast(pl.Int64)
    counts = total.join(kept, on="landed_file", how="left").select(
        "landed_file",
        spoken_for,
        pl.lit(0).alias("duplicate"),
        (pl.col("rows").cast(pl.Int64) - spoken_for).alias("superseded"),
        pl.lit(0).alias("quarantined"),
    )
    return spoken, counts.sort("landed_file").rows()
