"""Core days: staged request rows become the de-duplicated, final rows of each UTC day.

What lives here: merging request logs day by day, incrementally or from the raw files. What does not: reading files
(intake.py), provider usage and bills (core_buckets.py), which row wins (transforms/deduplication.py).
The result is a pure function of the live files: merging new rows into a day gives what a rebuild from raw would give.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from pipelines.connectors import registry
from pipelines.contracts.fields import conform, empty, polars_schema
from pipelines.contracts.usage import CoreDuplicates, CoreMeters, CoreQuarantine, CoreUsage
from pipelines.intake import Progress, clear_pending, pending_files, pending_rebuilds, stage, staging
from pipelines.lake import Lake
from pipelines.landing import Ledger
from pipelines.quantities import METERS
from pipelines.settings import Settings
from pipelines.transforms.deduplication import MergedDay, id_hashes, merge_day

ROWS_SCHEMA = {**polars_schema(CoreUsage), **{meter: pl.Decimal(38, 9) for meter in METERS}}
_PROVENANCE = ["landed_file", "record_number", "part"]


@dataclass
class DaysReport:
    """Which days were merged or rebuilt. `missing_raw` names files that a rebuild wanted and landing/ no longer holds."""

    days: list[str] = field(default_factory=list)
    missing_raw: list[str] = field(default_factory=list)


def merge_usage_days(
    settings: Settings,
    precedence: dict[str, int],
    rebuild: Iterable[str] = (),
    progress: Progress | None = None,
) -> DaysReport:
    """Merge all staged request rows into their days, and rebuild the days given (and those marked) from raw files.

    precedence: source → number, lower wins (sources.csv). The caller holds the lake's lock and clears what was pending.
    """
    lake = Lake(settings.lake)
    ledger = Ledger(lake)
    report = DaysReport()
    merger = _Merger(lake, ledger, precedence)
    afresh = {*rebuild, *pending_rebuilds(lake).get("core__usage", set())}
    merger.afresh = afresh
    staged = [file for file in pending_files(lake) if staging(lake, file).is_dir()]
    staged += _reread(settings, lake, ledger, afresh, set(staged), report)
    merger.add_staged(staged)
    days = sorted({*merger.pieces, *afresh})
    queue = list(days)
    heapq.heapify(queue)
    while queue:
        day = heapq.heappop(queue)
        if progress:
            progress(f"merging {day}", len(report.days), len(report.days) + len(queue) + 1)
        merger.merge(day)
        report.days.append(day)
        following = str(date.fromisoformat(day) + timedelta(days=1))
        if following not in queue and merger.touches(day, following):
            heapq.heappush(queue, following)
    return report


def _reread(
    settings: Settings, lake: Lake, ledger: Ledger, days: set[str], staged: set[str], report: DaysReport
) -> list[str]:
    """Stage the request rows of `days` again from every raw file that touches them."""
    if not days:
        return []
    wanted = set(ledger.files_touching(("core__usage",), days)) - staged
    found = {file.landed_file: file for file in ledger.found(settings, wanted)}
    report.missing_raw = sorted(wanted - set(found))
    for file in found.values():
        everywhere = registry.has_global_keys(file.source)
        stage(settings, lake, file, only_days=None if everywhere else frozenset(days))
    return sorted(found)


class _Merger:
    """State of one merge over many days: what is staged for each, and which days start from nothing."""

    def __init__(self, lake: Lake, ledger: Ledger, precedence: dict[str, int]) -> None:
        self.lake = lake
        self.ledger = ledger
        self.precedence = precedence
        self.afresh: set[str] = set()
        self.pieces: dict[str, list[Path]] = {}
        self.moved: dict[str, list[pl.DataFrame]] = {}
        self.staged: set[str] = set()

    def add_staged(self, landed_files: list[str]) -> None:
        """Sort staged pieces by day; rows of sources with global keys go to the day on which their call was first seen."""
        self.staged = set(landed_files)
        homeless: dict[str, list[Path]] = {}
        for landed_file in landed_files:
            for path in sorted(staging(self.lake, landed_file).glob("*/*.parquet")):
                source = pl.read_parquet(path, columns=["source"], n_rows=1)["source"].item()
                if registry.has_global_keys(source):
                    homeless.setdefault(source, []).append(path)
                else:
                    self.pieces.setdefault(path.parent.name, []).append(path)
        for source, paths in homeless.items():
            self._send_home(source, pl.concat([pl.read_parquet(path) for path in paths]))

    def _send_home(self, source: str, rows: pl.DataFrame) -> None:
        known = self.lake.read("core__request_days", source)
        key = ["provider", "request_id"]
        own = rows.group_by(key).agg(pl.col("usage_date").min())
        index = own if known is None else pl.concat([known, own]).group_by(key).agg(pl.col("usage_date").min())
        if known is not None:
            earlier = known.join(own, on=key, suffix="_new").filter(pl.col("usage_date_new") < pl.col("usage_date"))
            for (day,), keys in earlier.partition_by("usage_date", as_dict=True).items():
                self._move_away(source, str(day), keys.select(*key, pl.col("usage_date_new").alias("usage_date")))
        sent = rows.drop("usage_date").join(index, on=key, how="left").select(rows.columns)
        for (day,), piece in sent.partition_by("usage_date", as_dict=True).items():
            self.moved.setdefault(str(day), []).append(piece)
            self.pieces.setdefault(str(day), [])
        self.lake.write("core__request_days", source, index.sort(key), None)

    def _move_away(self, source: str, day: str, keys: pl.DataFrame) -> None:
        """An earlier telling of known calls arrived: their rows leave `day` for the earlier one."""
        held = self.lake.read("core__usage", day)
        if held is None:
            return
        mine = (pl.col("source") == source)
        leaving = held.filter(mine).drop("usage_date").join(keys, on=["provider", "request_id"]).select(held.columns)
        meters = self.lake.read("core__meters", day)
        staying = held.join(leaving, on=_PROVENANCE, how="anti")
        self.lake.write("core__usage", day, staying, CoreUsage)
        wide = _with_meters(leaving, meters)
        for (home,), piece in wide.partition_by("usage_date", as_dict=True).items():
            self.moved.setdefault(str(home), []).append(piece)
            self.pieces.setdefault(str(home), [])
        self.pieces.setdefault(day, [])

    def merge(self, day: str) -> None:
        """Write the final rows of one day: requests, meters, duplicates, conflicts, ids seen, counts per file."""
        new = [pl.read_parquet(path) for path in self.pieces.get(day, [])] + self.moved.get(day, [])
        fresh = pl.concat(new) if new else pl.DataFrame(schema=ROWS_SCHEMA)
        held, old_duplicates, old_meters = self._held(day, fresh)
        rows = pl.concat([held, fresh]) if len(held) else fresh
        before = str(date.fromisoformat(day) - timedelta(days=1))
        rules = registry.merge_rules(rows["source"].unique())
        merged = merge_day(rows, rules, self.precedence, self._seen(before), lambda hashes: self._seen_rows(before, hashes))
        duplicates = pl.concat([old_duplicates, merged.duplicates])
        meters = pl.concat([_still_there(old_meters, merged.accepted), _long_meters(merged.accepted)])
        self.lake.write("core__usage", day, merged.accepted.select(list(polars_schema(CoreUsage))), None)
        self.lake.write("core__meters", day, meters.sort(*_PROVENANCE, "meter"), CoreMeters)
        self.lake.write("core__duplicates", day, duplicates.sort(_PROVENANCE), CoreDuplicates)
        self._write_conflicts(day, merged)
        seen = pl.concat([id_hashes(merged.accepted), id_hashes(duplicates)]).sort().to_frame()
        self.lake.write("core__usage_ids", day, seen, None, signature=pl.__version__)
        self._count(day, merged, duplicates)

    def _held(self, day: str, fresh: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """What the day holds already and keeps: nothing of files that are staged again, nothing raw when rebuilt afresh."""
        usage, duplicates, meters = (
            self.lake.read(table, day) for table in ("core__usage", "core__duplicates", "core__meters")
        )
        if usage is None:
            return pl.DataFrame(schema=ROWS_SCHEMA), empty(CoreDuplicates), empty(CoreMeters)
        keep = ~pl.col("landed_file").is_in(sorted(self.staged | set(fresh["landed_file"].unique())))
        if day in self.afresh:
            live = self.ledger.files_touching(("core__usage",), [day])
            keep = keep & pl.col("landed_file").is_in(live)
        usage = usage.filter(keep).with_columns(pl.lit(None, dtype=pl.Decimal(38, 9)).alias(meter) for meter in METERS)
        duplicates = empty(CoreDuplicates) if duplicates is None else duplicates.filter(keep)
        return usage, duplicates, empty(CoreMeters) if meters is None else meters.filter(keep)

    def _seen(self, day: str) -> pl.Series | None:
        partition = self.lake.partitions("core__usage_ids").get(day)
        if partition is None:
            return None
        if partition.signature == pl.__version__:
            return pl.read_parquet(self.lake.path("core__usage_ids", day))["id_hash"]
        ids = [self.lake.read(table, day, ["request_id"]) for table in ("core__usage", "core__duplicates")]
        return pl.concat([id_hashes(frame) for frame in ids if frame is not None])

    def _seen_rows(self, day: str, hashes: pl.Series) -> pl.DataFrame:
        columns = ["provider", "request_id", "landed_file", "record_number"]
        frames = [self.lake.read(table, day, columns) for table in ("core__usage", "core__duplicates")]
        present = pl.concat([empty(CoreUsage).select(columns), *(frame for frame in frames if frame is not None)])
        return present.filter(id_hashes(present).is_in(hashes.implode()))

    def touches(self, day: str, following: str) -> bool:
        """True when a call of `day` is also held on the day after, which must then be looked at again."""
        if not self.lake.path("core__usage", following).exists():
            return False
        mine, theirs = self._seen(day), self._seen(following)
        if mine is None or theirs is None:
            return False
        shared = theirs.filter(theirs.is_in(mine.implode()))
        if not len(shared):
            return False
        held = self.lake.read("core__usage", following, ["provider", "request_id"])
        return held is not None and bool(held.select(id_hashes(held).is_in(shared.implode()).any()).item())

    def _write_conflicts(self, day: str, merged: MergedDay) -> None:
        key = f"day-{day}"
        old = self.lake.read("core__quarantine", key)
        kept = empty(CoreQuarantine) if old is None or day in self.afresh else old.filter(~pl.col("landed_file").is_in(sorted(self.staged)))
        entries = merged.conflicts.select(
            "source", "landed_file", "record_number", "part", pl.lit("key_conflict").alias("reason_code"),
            pl.lit("request_id").alias("column"), pl.lit("same id, other content").alias("rule"), "usage_date",
        )  # fmt: skip
        conflicts = pl.concat([kept, conform(entries, CoreQuarantine)]).sort(_PROVENANCE)
        if len(conflicts):
            self.lake.write("core__quarantine", key, conflicts, CoreQuarantine)
        else:
            self.lake.remove("core__quarantine", key)

    def _count(self, day: str, merged: MergedDay, duplicates: pl.DataFrame) -> None:
        conflicts = self.lake.read("core__quarantine", f"day-{day}")
        counted = [
            merged.accepted.filter(pl.col("part") == 0).select("landed_file", pl.lit("accepted").alias("fate")),
            duplicates.filter(pl.col("part") == 0).select("landed_file", "fate"),
        ]
        if conflicts is not None:
            counted.append(conflicts.filter(pl.col("part") == 0).select("landed_file", pl.lit("quarantined").alias("fate")))
        counts = (
            pl.concat(counted).group_by("landed_file").agg(
                (pl.col("fate") == fate).sum().alias(fate) for fate in ("accepted", "duplicate", "superseded", "quarantined")
            )
        )
        self.ledger.set_day_counts("core__usage", day, counts.sort("landed_file").rows())


def _with_meters(usage: pl.DataFrame, meters: pl.DataFrame | None) -> pl.DataFrame:
    wide = usage
    for meter in METERS:
        mine = None if meters is None else meters.filter(pl.col("meter") == meter).select(*_PROVENANCE, pl.col("quantity").alias(meter))
        if mine is None or not len(mine):
            wide = wide.with_columns(pl.lit(None, dtype=pl.Decimal(38, 9)).alias(meter))
        else:
            wide = wide.join(mine, on=_PROVENANCE, how="left")
    return wide


def _long_meters(rows: pl.DataFrame) -> pl.DataFrame:
    frames = [
        conform(rows.filter(pl.col(meter) > 0).with_columns(pl.lit(meter).alias("meter"), pl.col(meter).alias("quantity")), CoreMeters)
        for meter in METERS
        if meter in rows.columns and rows[meter].null_count() < len(rows)
    ]
    return pl.concat(frames) if frames else empty(CoreMeters)


def _still_there(meters: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    return meters.join(accepted.select(_PROVENANCE), on=_PROVENANCE, how="semi") if len(meters) else meters


def finish(lake: Lake) -> None:
    """Everything staged is merged: forget what was pending and its staging files."""
    clear_pending(lake, pending_files(lake))
    root = lake.root / ".staged"
    if root.is_dir():
        for leftover in root.iterdir():
            clear_pending(lake, [leftover.name])
