"""Core infrastructure: telemetry and cost allocations of machines, cut by UTC day and summed by hour.

What lives here: writing core__infrastructure for the days that changed. What does not: from samples to hours
(transforms/telemetry_hours.py), reading files (intake/reading.py), what an hour costs (infrastructure_tables.py). Every
live
file's own samples stand in lake/parsed__core__infrastructure_samples; a day is always written again from all files that
touch it or the day after, so files may come in any order and overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import polars as pl

from pipelines.contracts.fields import empty
from pipelines.contracts.infrastructure import CoreInfrastructure, CoreInfrastructureSamples
from pipelines.intake.landing import Ledger
from pipelines.intake.reading import SAMPLES
from pipelines.intake.staging import Progress, pending_files, pending_rebuilds
from pipelines.lake import MOST_WAITING, Lake
from pipelines.settings import Settings
from pipelines.transforms.telemetry_hours import hourly_telemetry, touched_days

TABLE = "core__infrastructure"
_DAY = timedelta(days=1)


def merge_infrastructure_days(
    settings: Settings, rebuild: Iterable[str] = (), progress: Progress | None = None
) -> list[str]:
    """Write the days that pending files touch, those marked and those given. Returns the days written, in order.

    A day before a changed one is written too where it exists: its last interval may end in the other. The caller holds
    the lake's lock and clears what was pending.
    """
    lake = Lake(settings.lake)
    ledger = Ledger(lake)
    held = lake.partitions(TABLE)
    days = {*pending_rebuilds(lake).get(TABLE, set()), *(day for day in rebuild if day in held)}
    for landed_file in pending_files(lake):
        samples = lake.read(f"parsed__{SAMPLES}", landed_file)
        if samples is not None:
            touched = {str(day) for day in touched_days(samples)}
            ledger.add_bucket_days(TABLE, landed_file, touched)
            days |= touched
    days |= {before for day in days if (before := str(date.fromisoformat(day) - _DAY)) in held}
    ordered = sorted(days)
    counts = {}
    with lake.replacing() as replacement:
        for number, day in enumerate(ordered):
            if progress:
                progress(f"machines of {day}", number, len(ordered))
            if len(replacement) >= MOST_WAITING:
                replacement.commit()
            hours, counts[day] = _told_on(lake, ledger, date.fromisoformat(day))
            replacement.write(TABLE, day, hours, CoreInfrastructure)
    ledger.set_day_counts(TABLE, counts)
    return ordered


def _told_on(lake: Lake, ledger: Ledger, day: date) -> tuple[pl.DataFrame, list[tuple[str, int, int, int, int]]]:
    """The hours of one day, and what became of the samples of each file."""
    files = ledger.files_touching((TABLE,), [str(day), str(day + _DAY)])
    newness = {file: place for place, file in enumerate(_oldest_first(ledger, files))}
    frames = [
        frame.with_columns(pl.lit(newness[file], dtype=pl.Int64).alias("newness"))
        for file in files
        if (frame := lake.read(f"parsed__{SAMPLES}", file)) is not None
    ]
    nothing = empty(CoreInfrastructureSamples).with_columns(pl.lit(0, dtype=pl.Int64).alias("newness"))
    told = hourly_telemetry(pl.concat([nothing, *frames]), day)
    counts = told.fates.group_by("landed_file").agg(
        *(
            (pl.col("fate") == fate).sum().cast(pl.Int64).alias(fate)
            for fate in ("accepted", "duplicate", "superseded")
        ),
        pl.lit(0, dtype=pl.Int64).alias("quarantined"),
    )
    counted = dict.fromkeys(ledger.files_touching((TABLE,), [str(day)]), (0, 0, 0, 0))
    counted |= {row[0]: row[1:] for row in counts.iter_rows()}
    return told.hours, [(file, *numbers) for file, numbers in sorted(counted.items())]


def _oldest_first(ledger: Ledger, files: list[str]) -> list[str]:
    described = ledger.described(files)
    return [file for file, _, _, _ in sorted(described, key=lambda row: (row[3], row[2], row[0]))]
