"""Quarantine: what did not come in and why, and trying it again by the same code path.

What lives here: listing and showing quarantined records and rejected files, replaying the raw files that hold them.
What does not: deciding that a record is quarantined (connectors/, transforms/).
Entries hold codes, names and numbers only; the record itself stays in landing/, because it may hold a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches

import polars as pl

from pipelines.connectors import registry
from pipelines.contracts.fields import empty
from pipelines.contracts.usage import CoreLandedFiles, CoreQuarantine
from pipelines.core.merge import merge_core
from pipelines.errors import FileRejectedError, NotFoundError, UsageError
from pipelines.intake.landing import FoundFile, Ledger, unseen
from pipelines.intake.reading import stage
from pipelines.intake.staging import Progress, add_pending, mark_for_rebuild, staged_pieces
from pipelines.lake import Lake
from pipelines.settings import Settings

WHOLE_FILE = "whole file"


@dataclass(frozen=True)
class QuarantinedFile:
    """One landed file and what of it did not come in: `entries` has record_number, part, reason_code, column, rule."""

    source: str
    relative_path: str
    landed_file: str
    status: str
    records: int
    reason: str | None
    entries: pl.DataFrame


@dataclass(frozen=True)
class ReplayedFile:
    """One file that was read again: quarantined records before and after; `rejected` says why it is still unusable."""

    source: str
    relative_path: str
    landed_file: str
    before: int
    after: int
    was_rejected: bool = False
    rejected: str | None = None

    @property
    def released(self) -> int:
        """Records that came in this time."""
        return self.before - self.after


@dataclass
class ReplayReport:
    """What a replay did. `days` were merged again; files whose raw bytes are gone or changed were not read again."""

    files: list[ReplayedFile] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    missing_raw: list[str] = field(default_factory=list)
    changed_raw: list[str] = field(default_factory=list)


def list_quarantine(settings: Settings, source: str | None = None) -> pl.DataFrame:
    """One row per source, file and reason: `records` quarantined, first and last record number and day, `scope`.

    `scope` is `records`, or `whole file` for a rejected file, whose number of records is unknown (NULL). Rows stand by
    source, path, reason. Raises UsageError for a source that is none.
    """
    _known_source(source)
    lake = Lake(settings.lake)
    files = _ledger_frame(lake).select("landed_file", "relative_path", "status").unique("landed_file")
    entries = _entries(lake).join(files.drop("status"), on="landed_file", how="left")
    records = entries.group_by("source", "relative_path", "landed_file", "reason_code").agg(
        pl.col("record_number").n_unique().cast(pl.Int64).alias("records"),
        pl.col("record_number").min().alias("first_record"),
        pl.col("record_number").max().alias("last_record"),
        pl.col("usage_date").min().alias("first_day"),
        pl.col("usage_date").max().alias("last_day"),
        pl.lit("records").alias("scope"),
    )
    rejected = _ledger_frame(lake).filter(pl.col("status") == "rejected")
    whole = rejected.select(
        "source",
        "relative_path",
        "landed_file",
        "reason_code",
        *(pl.lit(None, dtype=pl.Int64).alias(name) for name in ("records", "first_record", "last_record")),
        *(pl.lit(None, dtype=pl.Date).alias(name) for name in ("first_day", "last_day")),
        pl.lit(WHOLE_FILE).alias("scope"),
    )
    listed = pl.concat([records, whole]).sort("source", "relative_path", "reason_code", "landed_file")
    return listed if source is None else listed.filter(pl.col("source") == source)


def show_quarantine(settings: Settings, wanted: str) -> QuarantinedFile:
    """What of one file is quarantined. `wanted` is its identity (or a start of it) or its path, with or without source.

    Raises NotFoundError with the nearest files when nothing of such a file is quarantined, or when several match.
    """
    lake = Lake(settings.lake)
    entries = _entries(lake)
    ledger = _ledger_frame(lake).filter(pl.col("status").is_in(["ingested", "rejected"]))
    held = ledger.filter(
        pl.col("landed_file").is_in(entries["landed_file"].implode()) | (pl.col("status") == "rejected")
    )
    found = [row for row in held.iter_rows(named=True) if _is_meant(row, wanted)]
    if len(found) != 1:
        names = [f"{row['source']}/{row['relative_path']}" for row in (found or held.iter_rows(named=True))]
        near = get_close_matches(wanted, names, n=3, cutoff=0.3) or names[:3]
        raise NotFoundError(
            f"nothing of {wanted!r} is quarantined" if not found else f"{wanted!r} names {len(found)} files",
            where="core__quarantine",
            expected="a file's identity or path" + (f", such as {', '.join(near)}" if near else ""),
            next_move="`tokenmart quarantine list` shows all of them",
        )
    row = found[0]
    mine = entries.filter(pl.col("landed_file") == row["landed_file"]).sort("record_number", "part", "reason_code")
    return QuarantinedFile(
        source=row["source"],
        relative_path=row["relative_path"],
        landed_file=row["landed_file"],
        status=row["status"],
        records=row["records"],
        reason=row["reason"],
        entries=mine.select("record_number", "part", "reason_code", "column", "rule", "usage_date"),
    )


def replay(settings: Settings, source: str | None = None, progress: Progress | None = None) -> ReplayReport:
    """Read the raw files that hold quarantined records again, rejected files too, and merge what comes in now.

    The code path is that of a first reading, so the result is what a rebuild from nothing would give. Worth it after
    the code or the conflicting file changed. Marts are built by the next run. Raises UsageError for an unknown source.
    """
    _known_source(source)
    lake = Lake(settings.lake)
    report = ReplayReport()
    with lake.writing():
        ledger = Ledger(lake)
        before = _quarantined_per_file(lake)
        files = _files_to_replay(settings, lake, ledger, source, report)
        outcomes: dict[str, str | None] = {}
        landed = dict(ledger.frame().select("landed_file", "landed_at").iter_rows())
        was_rejected = {file.landed_file for file in files if ledger.owner(file.landed_file) == "rejected"}
        for number, file in enumerate(files):
            if progress:
                progress(f"reading {file.source}/{file.relative_path} again", number, len(files))
            outcomes[file.landed_file] = _stage_again(settings, lake, ledger, file, landed[file.landed_file])
        lake.write("core__landed_files", "all", ledger.frame(), CoreLandedFiles)
    if any(reason is None for reason in outcomes.values()):
        merged = merge_core(settings, progress=progress)
        report.days = sorted({*merged.usage_days, *merged.bucket_days})
        report.missing_raw = sorted({*report.missing_raw, *merged.missing_raw})
    after = _quarantined_per_file(lake)
    report.files = [
        ReplayedFile(
            file.source,
            file.relative_path,
            file.landed_file,
            before.get(file.landed_file, 0),
            after.get(file.landed_file, 0),
            file.landed_file in was_rejected,
            outcomes[file.landed_file],
        )
        for file in files
    ]
    return report


def _stage_again(settings: Settings, lake: Lake, ledger: Ledger, file: FoundFile, landed_at: datetime) -> str | None:
    """Stage one file as intake does, replacing what it said before. Returns why it is rejected, None if it is not."""
    days = ledger.days_of([file.landed_file])
    try:
        facts = stage(settings, lake, file)
    except FileRejectedError as error:
        if ledger.owner(file.landed_file) == "rejected":
            ledger.record(file, "rejected", landed_at, reason_code=error.code, reason=str(error))
        return str(error)
    ledger.record(file, "ingested", landed_at, **facts)
    add_pending(lake, file.landed_file, file.landed_file)
    now = {piece.parent.name for piece in staged_pieces(lake, file.landed_file)}
    is_told_again = not registry.has_global_keys(file.source)
    left = {
        table: touched - now if table == "core__usage" and is_told_again else touched for table, touched in days.items()
    }
    mark_for_rebuild(lake, {table: touched for table, touched in left.items() if touched})
    return None


def _files_to_replay(
    settings: Settings, lake: Lake, ledger: Ledger, source: str | None, report: ReplayReport
) -> list[FoundFile]:
    """Files with quarantined records, and rejected ones, whose raw bytes still stand as they were read."""
    live = ledger.frame().filter(pl.col("status").is_in(["ingested", "rejected"]))
    held = live.filter(
        (pl.col("status") == "rejected") | pl.col("landed_file").is_in(_entries(lake)["landed_file"].implode())
    )
    wanted = held if source is None else held.filter(pl.col("source") == source)
    names = {row["landed_file"]: f"{row['source']}/{row['relative_path']}" for row in wanted.iter_rows(named=True)}
    changed = {(file.source, file.relative_path) for file in unseen(settings, ledger, registry.SOURCES)[0]}
    found = ledger.found(settings, names)
    report.missing_raw = sorted(set(names.values()) - {names[file.landed_file] for file in found})
    report.changed_raw = sorted(
        names[file.landed_file] for file in found if (file.source, file.relative_path) in changed
    )
    return [file for file in found if (file.source, file.relative_path) not in changed]


def _quarantined_per_file(lake: Lake) -> dict[str, int]:
    counted = _entries(lake).group_by("landed_file").agg(pl.col("record_number").n_unique())
    return dict(counted.iter_rows())


def _entries(lake: Lake) -> pl.DataFrame:
    frames = [
        frame
        for key in lake.partitions("core__quarantine")
        if (frame := lake.read("core__quarantine", key)) is not None
    ]
    return pl.concat([empty(CoreQuarantine), *frames])


def _ledger_frame(lake: Lake) -> pl.DataFrame:
    return Ledger(lake).frame()


def _is_meant(row: dict[str, object], wanted: str) -> bool:
    path = str(row["relative_path"])
    return wanted in {path, f"{row['source']}/{path}"} or (
        len(wanted) >= 4 and str(row["landed_file"]).startswith(wanted)
    )


def _known_source(source: str | None) -> None:
    if source is not None and source not in registry.SOURCES:
        raise UsageError(
            f"{source!r} is not a source",
            where="--source",
            expected=", ".join(registry.SOURCES),
            next_move="choose one of them, or leave it out for all",
        )
