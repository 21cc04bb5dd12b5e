"""Intake: landed files become staged rows, exactly once, and the ledger says what became of each file.

What lives here: the run over new files, what waits to be merged, re-reading what was lost. What does not: reading one
file (reading.py), merging staged rows into core days (core/days.py).
A kill at any point loses nothing: a file counts as taken in only when its rows are staged, and as merged only when its
days are written; both are re-done from the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

from pipelines.connectors import registry
from pipelines.connectors.base import ReadsTogether
from pipelines.contracts.usage import CoreLandedFiles
from pipelines.errors import FileRejectedError
from pipelines.intake import reading
from pipelines.intake.landing import FoundFile, Ledger, stands_as_found, survey
from pipelines.intake.reading import KEPT_PER_FILE, ReadFile, staging
from pipelines.lake import Lake
from pipelines.settings import Settings

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""

_SMALL_FILE_BYTES = 8 * 2**20
_BYTES_TOGETHER = 32 * 2**20
_FILES_TOGETHER = 256


@dataclass
class IntakeReport:
    """What one intake did. `rejected` holds (file, reason); `unsettled` files wait for the next run."""

    ingested: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    unknown_sources: dict[str, int] = field(default_factory=dict)
    known: int = 0


def ingest(settings: Settings, progress: Progress | None = None) -> IntakeReport:
    """Take in what is new in landing/: parse, check and stage each new file; the days themselves are merged later.

    One bad file never stops the others: it is rejected in the ledger, with what, where, expected and next move.
    """
    lake = Lake(settings.lake)
    with lake.writing():
        ledger = Ledger(lake)
        spool = settings.lake / ".spool"
        shutil.rmtree(spool, ignore_errors=True)
        _prepare_pending(lake)
        found = survey(settings, ledger, registry.SOURCES)
        report = IntakeReport(unknown_sources=found.unknown_sources, known=found.known)
        report.unsettled = [_name(file) for file in found.unsettled]
        coming = enumerate(_read_in_order(settings, lake, ledger, found.fresh))
        while some := list(islice(coming, 1)):
            with lake.one_commit():
                for done, (file, read) in chain(some, islice(coming, _FILES_TOGETHER - 1)):
                    if progress:
                        progress(f"reading {_name(file)}", done, len(found.fresh))
                    _take_in(settings, lake, ledger, file, read, report)
                    if file.size_bytes > _SMALL_FILE_BYTES:
                        break
        if found.fresh or not lake.path("core__landed_files", "all").exists():
            lake.write("core__landed_files", "all", ledger.frame(), CoreLandedFiles)
        if progress:
            progress("landing read", len(found.fresh), len(found.fresh))
    return report


def _name(file: FoundFile) -> str:
    return f"{file.source}/{file.relative_path}"


def _read_in_order(
    settings: Settings, lake: Lake, ledger: Ledger, files: Sequence[FoundFile]
) -> Iterator[tuple[FoundFile, Callable[[], ReadFile]]]:
    """Each file with what reads it. Small ones are read while earlier ones are taken in: most of what reading a small
    file costs is waiting."""
    groups = _small_files(ledger, files) if settings.threads > 1 else iter(())
    coming: dict[str, tuple[Future[list[ReadFile | FileRejectedError]], int]] = {}
    with ThreadPoolExecutor(settings.threads) as beside:
        for file in files:
            while len({future for future, _ in coming.values()}) <= settings.threads and (group := next(groups, None)):
                begun = beside.submit(reading.read_files, settings, lake, group)
                coming |= {small.landed_file: (begun, place) for place, small in enumerate(group)}
            ahead = coming.pop(file.landed_file, None)
            yield file, partial(reading.read_file, settings, lake, file) if ahead is None else partial(_outcome, *ahead)


def _outcome(read: Future[list[ReadFile | FileRejectedError]], place: int) -> ReadFile:
    outcome = read.result()[place]
    if isinstance(outcome, FileRejectedError):
        raise outcome
    return outcome


def _small_files(ledger: Ledger, files: Sequence[FoundFile]) -> Iterator[list[FoundFile]]:
    """New small files, each by itself or with those after it that their connector can read at once."""
    seen: set[str] = set()
    group: list[FoundFile] = []
    for file in files:
        if file.landed_file in seen or file.size_bytes > _SMALL_FILE_BYTES or ledger.owner(file.landed_file):
            continue
        seen.add(file.landed_file)
        if group and not _go_together(group, file):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _go_together(group: Sequence[FoundFile], file: FoundFile) -> bool:
    has_room = sum(one.size_bytes for one in (*group, file)) <= _BYTES_TOGETHER and len(group) < _FILES_TOGETHER
    return file.source == group[0].source and has_room and all(map(_may_go_together, (group[-1], file)))


def _may_go_together(file: FoundFile) -> bool:
    connector = registry.connector(file.source)
    return isinstance(connector, ReadsTogether) and file.relative_path.endswith(connector.together)


def _take_in(
    settings: Settings,
    lake: Lake,
    ledger: Ledger,
    file: FoundFile,
    read: Callable[[], ReadFile],
    report: IntakeReport,
) -> None:
    previous = ledger.previous_version(file)
    if previous is not None:
        _mark_what_hangs_on(lake, ledger, previous, file.source)
        forget_parsed(lake, previous)
        ledger.retract(previous)
        report.retracted.append(_name(file))
    if ledger.owner(file.landed_file) is not None:
        ledger.record(file, "duplicate", settings.now())
        report.duplicates.append(_name(file))
        return
    try:
        outcome = read()
        facts = outcome.keep(lake)
    except FileRejectedError as error:
        shutil.rmtree(staging(lake, file.landed_file), ignore_errors=True)
        ledger.record(file, "rejected", settings.now(), reason_code=error.code, reason=str(error))
        report.rejected.append((_name(file), str(error)))
        return
    if not stands_as_found(file):
        forget_parsed(lake, file.landed_file)
        report.unsettled.append(_name(file))
        return
    add_pending(lake, file.landed_file, outcome.staged_in)
    ledger.record(file, "ingested", settings.now(), **facts)
    report.ingested.append(_name(file))


def _mark_what_hangs_on(lake: Lake, ledger: Ledger, landed_file: str, source: str) -> None:
    """Days to look at again when a file version goes: its own.

    Request rows are decided again from what the lake holds of the other files; only where keys are global, so that a
    call's first day may have hung on the file, the day is read from raw.
    """
    days = ledger.days_of([landed_file])
    requests = days.pop("core__usage", set())
    mark_for_rebuild(lake, {**days, "core__usage": requests if registry.has_global_keys(source) else set()})
    mark_for_merge(lake, requests)


def forget_parsed(lake: Lake, landed_file: str) -> None:
    """Drop what a retracted file version left in the small tables, in quarantine and in staging."""
    for table in ("core__fetched_buckets", *KEPT_PER_FILE):
        lake.remove(f"parsed__{table}", landed_file)
    lake.remove("core__quarantine", f"file-{landed_file}")
    shutil.rmtree(staging(lake, landed_file), ignore_errors=True)
    with lake.index() as index:
        index.execute("DELETE FROM pending_files WHERE landed_file = ?", (landed_file,))


_PENDING_TABLES = """
CREATE TABLE IF NOT EXISTS pending_files (landed_file TEXT PRIMARY KEY, pieces INTEGER, boot TEXT, staged_in TEXT);
CREATE TABLE IF NOT EXISTS pending_rebuilds (table_name TEXT, usage_date TEXT, PRIMARY KEY (table_name, usage_date));
CREATE TABLE IF NOT EXISTS pending_merges (usage_date TEXT PRIMARY KEY);
"""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _prepare_pending(lake: Lake) -> None:
    with lake.index() as index:
        index.executescript(_PENDING_TABLES)
        columns = {row[1] for row in index.execute("PRAGMA table_info(pending_files)")}
        if "staged_in" not in columns:  # what an earlier version staged is not laid out like this: it is read again
            index.execute("ALTER TABLE pending_files ADD COLUMN staged_in TEXT")
            index.execute("UPDATE pending_files SET staged_in = landed_file, boot = 'earlier version'")


def _boot() -> str:
    """Which start of the machine this is. Pieces are not synced to disk: those of an earlier start are not trusted."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def staged_pieces(lake: Lake, staged_in: str) -> list[Path]:
    """The pieces in a staging folder, in the order in which they were read; the folder of each is its day."""
    return sorted(staging(lake, staged_in).glob("*/*.arrow"))


def add_pending(lake: Lake, landed_file: str, staged_in: str) -> None:
    """Remember that the days of a file must be merged, whose rows are staged there."""
    pieces = staged_pieces(lake, staged_in)
    boot = _boot()
    if not boot:
        for path in pieces:
            with path.open("rb") as piece:
                os.fsync(piece.fileno())
    with lake.index() as index:
        index.execute(
            "INSERT OR REPLACE INTO pending_files VALUES (?, ?, ?, ?)", (landed_file, len(pieces), boot, staged_in)
        )


def restage_lost_pieces(settings: Settings, lake: Lake, ledger: Ledger) -> list[str]:
    """Stage pending files again whose pieces are not all there, or were written before the machine last started.

    Returns the files whose raw bytes are gone too.
    """
    _prepare_pending(lake)
    with lake.index() as index:
        known = index.execute("SELECT landed_file, pieces, boot, staged_in FROM pending_files").fetchall()
    stand = {staged_in: len(staged_pieces(lake, staged_in)) for staged_in in {row[3] for row in known}}
    lost = {name for name, pieces, boot, staged_in in known if boot != _boot() or stand[staged_in] != pieces}
    found = {file.landed_file: file for file in ledger.found(settings, lost) if stands_as_found(file)} if lost else {}
    for name, file in sorted(found.items()):
        ledger.correct(name, **reading.stage(settings, lake, file))
        add_pending(lake, name, name)
    return sorted(lost - set(found))


def pending_files(lake: Lake) -> dict[str, str]:
    """Files staged and not merged yet, with the staging folder of each."""
    _prepare_pending(lake)
    with lake.index() as index:
        return dict(index.execute("SELECT landed_file, staged_in FROM pending_files ORDER BY landed_file"))


def mark_for_rebuild(lake: Lake, days: dict[str, set[str]]) -> None:
    """Remember days that must be rebuilt from raw files, because rows that they hold were retracted."""
    with lake.index() as index:
        for table, touched in days.items():
            index.executemany(
                "INSERT OR REPLACE INTO pending_rebuilds VALUES (?, ?)", [(table, day) for day in touched]
            )


def pending_rebuilds(lake: Lake) -> dict[str, set[str]]:
    """Core table → days to rebuild."""
    _prepare_pending(lake)
    days: dict[str, set[str]] = {}
    with lake.index() as index:
        for table, day in index.execute("SELECT table_name, usage_date FROM pending_rebuilds"):
            days.setdefault(table, set()).add(day)
    return days


def mark_for_merge(lake: Lake, days: Iterable[str]) -> None:
    """Remember days of requests that must be decided again, because rows that they hold no longer count."""
    with lake.index() as index:
        index.executemany("INSERT OR REPLACE INTO pending_merges VALUES (?)", [(day,) for day in days])


def pending_merges(lake: Lake) -> list[str]:
    """Days of requests to decide again from what the lake holds."""
    _prepare_pending(lake)
    with lake.index() as index:
        return [row[0] for row in index.execute("SELECT usage_date FROM pending_merges ORDER BY usage_date")]


def clear_pending(lake: Lake) -> None:
    """All days are merged: nothing waits any more."""
    _prepare_pending(lake)
    with lake.index() as index:
        index.execute("DELETE FROM pending_files")
        index.execute("DELETE FROM pending_rebuilds")
        index.execute("DELETE FROM pending_merges")
    shutil.rmtree(lake.root / ".staged", ignore_errors=True)
