"""Reading landed files: their bytes become checked rows, and what cannot be a row becomes a quarantine entry.

What lives here: read → sift → stage, for one file and for small ones that are read at once. What does not: which files,
in which order, and the ledger (staging.py), any format (connectors/).
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from pipelines.connectors import registry
from pipelines.connectors.base import REJECT_SCHEMA, Batch, LandedFile, ReadsTogether, Together
from pipelines.contracts.billing import CoreBilling
from pipelines.contracts.fields import conform, polars_schema
from pipelines.contracts.infrastructure import CoreInfrastructureSamples
from pipelines.contracts.usage import CoreFetchedBuckets, CoreProviderUsage, CoreQuarantine
from pipelines.errors import FileRejectedError
from pipelines.intake.landing import FoundFile
from pipelines.intake.unpacking import opened
from pipelines.lake import Lake, combined_digest
from pipelines.piece_files import write_piece
from pipelines.pieces import CODE, Piece
from pipelines.prefetch import ahead
from pipelines.settings import Settings
from pipelines.transforms.canonical_rows import ContentIds, SiftedUsage, sift_dated, sift_usage

PARSED_TABLES: dict[str, tuple[type[pa.DataFrameModel], str]] = {
    "core__provider_usage": (CoreProviderUsage, "bucket_start"),
    "core__billing": (CoreBilling, "charge_period_start"),
}
"""Small tables of which every landed file's own rows are kept (lake/parsed__…), because a newer file replaces
buckets."""

SAMPLES = "core__infrastructure_samples"
KEPT_PER_FILE: dict[str, tuple[type[pa.DataFrameModel], str]] = {
    **PARSED_TABLES,
    SAMPLES: (CoreInfrastructureSamples, "sampled_at"),
}
"""The same for samples of machines: a series goes on from file to file, so differences need the samples of both."""


def staging(lake: Lake, staged_in: str) -> Path:
    """The folder in which request rows wait for their days to be merged, a folder of pieces for each day."""
    return lake.root / ".staged" / staged_in


@dataclass(frozen=True)
class ReadFile:
    """What a file held beside its request rows: rows of small tables, quarantine entries, and counts for the ledger.
    The request rows wait in the staging folder `staged_in`, those of files read at once in one for all of them."""

    file: FoundFile
    staged_in: str
    parsed: Mapping[str, pl.DataFrame]
    quarantine: pl.DataFrame
    records: int
    not_usage: int

    def keep(self, lake: Lake) -> dict[str, int]:
        """Write the small tables and the quarantine entries. Returns the ledger's facts."""
        name = self.file.landed_file
        for table, rows in self.parsed.items():
            lake.write(f"parsed__{table}", name, rows, None)
        if len(self.quarantine):
            lake.write("core__quarantine", f"file-{name}", self.quarantine, CoreQuarantine)
        else:
            lake.remove("core__quarantine", f"file-{name}")
        return {
            "records": self.records,
            "not_usage": self.not_usage,
            "rejected_records": self.quarantine["record_number"].n_unique() if len(self.quarantine) else 0,
        }


def stage(settings: Settings, lake: Lake, file: FoundFile, only_days: frozenset[str] | None = None) -> dict[str, int]:
    """Read one file and stage its rows: request rows by day, small tables whole, quarantine entries whole.

    only_days: stage only request rows of these UTC days, for a rebuild. Returns the ledger's facts `records`,
    `not_usage` and `rejected_records`. Raises FileRejectedError when the file as a whole is unusable.
    """
    return read_file(settings, lake, file, only_days).keep(lake)


def read_file(
    settings: Settings, lake: Lake, file: FoundFile, only_days: frozenset[str] | None = None, *, by_itself: bool = True
) -> ReadFile:
    """Read one file into its staging folder; of the lake nothing else is touched, so several may be read at once.

    by_itself: threads of its own read, check and write it at the same time. Raises FileRejectedError as stage does,
    also for what no connector foresaw: one odd file never stops the others.
    """
    try:
        return _read(settings, lake, file, only_days, is_threaded=by_itself and settings.threads > 1)
    except _UNFORESEEN as error:
        at = next(frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if _OURS in frame.filename)
        # What the error says may quote the file.
        raise FileRejectedError(
            f"the file holds something that nobody thought of ({type(error).__name__})",
            code="unforeseen",
            where=f"{file.relative_path}, read by {Path(at.filename).name} line {at.lineno}",
            expected=f"files as {file.source} writes them",
            next_move="look for what is odd in it, and report it: `tokenmart quarantine replay` reads it again",
        ) from error


_UNFORESEEN = (
    ValueError, ArithmeticError, LookupError, TypeError, pl.exceptions.ComputeError, pl.exceptions.SchemaError,
)  # fmt: skip
"""What the content of a file can cause. Not what a full disk or a lack of memory causes: those pass."""
_OURS = str(Path(__file__).parents[1])


def _read(
    settings: Settings, lake: Lake, file: FoundFile, only_days: frozenset[str] | None, *, is_threaded: bool
) -> ReadFile:
    connector = registry.connector(file.source)
    target = staging(lake, file.landed_file)
    shutil.rmtree(target, ignore_errors=True)
    rejected: list[pl.DataFrame] = []
    parsed: dict[str, list[pl.DataFrame]] = {"core__fetched_buckets": [], **{table: [] for table in KEPT_PER_FILE}}
    not_usage = 0
    with opened(file, settings.lake / ".spool") as landed, ThreadPoolExecutor(1) as beside:
        at_once: Callable[[Iterator[Any]], Iterator[Any]] = ahead if is_threaded else iter
        counting = beside.submit(connector.count_records, landed) if is_threaded else None
        # Three batches are under way at once: one is read, one is checked, one is written.
        for number, (batch, sifted) in enumerate(at_once(_sifted(at_once(connector.read(landed)), landed, settings))):
            not_usage += batch.not_usage
            rejected.extend(batch.rejected)
            if sifted is not None:
                rejected.append(sifted.rejected)
                _stage_days(sifted.piece, target, number, only_days)
            _sift_small(batch, landed, parsed, rejected)
        # After it was read: of a damaged file the reader says what is wrong with it.
        records = connector.count_records(landed) if counting is None else counting.result()
    small = {}
    for table, frames in parsed.items():
        if frames:
            contract = CoreFetchedBuckets if table == "core__fetched_buckets" else KEPT_PER_FILE[table][0]
            small[table] = conform(pl.concat(frames), contract)
    return ReadFile(file, file.landed_file, small, _quarantine(rejected, file), records, not_usage)


def read_files(settings: Settings, lake: Lake, files: Sequence[FoundFile]) -> list[ReadFile | FileRejectedError]:
    """Read small files of one source, each as read_file does, at once where their connector can."""
    connector = registry.connector(files[0].source)
    if len(files) > 1 and isinstance(connector, ReadsTogether):
        with ExitStack() as stack, suppress(FileRejectedError, *_UNFORESEEN):
            landed = [stack.enter_context(opened(file, settings.lake / ".spool")) for file in files]
            together = connector.read_together(landed)
            if together is not None:
                counted = [connector.count_records(file) for file in landed]
                return _apart(settings, lake, files, landed[0], counted, together)
    outcomes: list[ReadFile | FileRejectedError] = []
    for file in files:
        try:
            outcomes.append(read_file(settings, lake, file, by_itself=False))
        except FileRejectedError as error:
            outcomes.append(error)
    return outcomes


def _apart(
    settings: Settings,
    lake: Lake,
    files: Sequence[FoundFile],
    first: LandedFile,
    counted: Sequence[int],
    together: Together,
) -> list[ReadFile | FileRejectedError]:
    """Checked and staged at once, and given to each file what is its own."""
    usage = together.batch.usage
    sifted = None if usage is None or not len(usage) else sift_usage(usage, first, settings.hash_key, ContentIds())
    rejected = [frame for frame in (*together.batch.rejected, *([sifted.rejected] if sifted else [])) if len(frame)]
    names = [file.landed_file for file in files]
    ends = pl.Series(together.records, dtype=pl.Int64).cum_sum()
    staged_in = combined_digest(names)[:16]
    target = staging(lake, staged_in)
    shutil.rmtree(target, ignore_errors=True)
    told = [frame["record_number"] for frame in rejected]
    if sifted is not None:
        told.append(sifted.piece.varying["record_number"])
        _stage_days(_by_file(sifted.piece, names, ends), target, 0, None)
    used = [0] * len(files)
    if told:
        for place, records in _places(pl.concat(told).unique(), ends).value_counts().iter_rows():
            used[place] = records
    read: list[ReadFile | FileRejectedError] = []
    for place, (file, records, own_count) in enumerate(zip(files, together.records, counted, strict=True)):
        before = ends[place] - records
        is_mine = pl.col("record_number").is_between(before + 1, before + records)
        entries = [frame.filter(is_mine).with_columns(pl.col("record_number") - before) for frame in rejected]
        read.append(ReadFile(file, staged_in, {}, _quarantine(entries, file), own_count, records - used[place]))
    return read


def _places(records: pl.Series, ends: pl.Series) -> pl.Series:
    """Of each record number that counts through several files, in which of them it is; ends: their last numbers."""
    return ends.search_sorted(records, side="left")


def _by_file(piece: Piece, names: Sequence[str], ends: pl.Series) -> Piece:
    """Rows of several files that name their own, and count records from 1 in each."""
    numbers = piece.varying["record_number"]
    places = _places(numbers, ends)
    before = ends.shift(1, fill_value=0)
    mine = piece.without("landed_file").with_numbers("landed_file", places.cast(CODE), pl.Series(names))
    return replace(mine, varying=mine.varying.with_columns(numbers - before.gather(places)))


def _sifted(
    batches: Iterator[Batch], landed: LandedFile, settings: Settings
) -> Iterator[tuple[Batch, SiftedUsage | None]]:
    ids = ContentIds()
    for batch in batches:
        if batch.usage is None or not len(batch.usage):
            yield batch, None
        else:
            yield batch, sift_usage(batch.usage, landed, settings.hash_key, ids)


def _stage_days(piece: Piece, target: Path, number: int, only_days: frozenset[str] | None) -> None:
    for day, rows in piece.by_day():
        if len(rows) and (only_days is None or day in only_days):
            of_file = rows.with_one_word("landed_file") if "landed_file" in rows.words else rows
            write_piece(of_file, target / day / f"{number:06d}.arrow")


def _sift_small(
    batch: Batch, landed: LandedFile, parsed: dict[str, list[pl.DataFrame]], rejected: list[pl.DataFrame]
) -> None:
    frames = {
        "core__provider_usage": batch.provider_usage,
        "core__billing": batch.billing,
        SAMPLES: batch.infrastructure,
    }
    for table, frame in frames.items():
        if frame is not None and len(frame):
            contract, instant = KEPT_PER_FILE[table]
            sifted = sift_dated(frame, landed, contract, instant)
            parsed[table].append(sifted.rows)
            rejected.append(sifted.rejected)
    if batch.fetched_buckets is not None and len(batch.fetched_buckets):
        parsed["core__fetched_buckets"].append(
            batch.fetched_buckets.with_columns(
                pl.lit(landed.source).alias("source"), pl.lit(landed.landed_file).alias("landed_file")
            ).select(list(polars_schema(CoreFetchedBuckets)))
        )


@cache
def _no_entries() -> pl.DataFrame:
    return conform(pl.DataFrame(schema={**REJECT_SCHEMA, "usage_date": pl.Date()}), CoreQuarantine)


def _quarantine(rejected: list[pl.DataFrame], file: FoundFile) -> pl.DataFrame:
    entries = [frame for frame in rejected if len(frame)]
    if not entries:
        return _no_entries()
    frame = pl.concat(entries, how="diagonal").with_columns(
        pl.lit(file.source).alias("source"), pl.lit(file.landed_file).alias("landed_file")
    )
    return conform(frame, CoreQuarantine).unique(["record_number", "part"], keep="first").sort("record_number", "part")
