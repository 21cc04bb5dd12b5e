"""Core days: staged request rows become the de-duplicated, final rows of each UTC day.

What lives here: which days are merged, from which rows, in which order, and writing them. What does not: reading files
(intake/reading.py), deciding a day (day_merge.py), provider usage and bills (buckets.py).
The result is a pure function of the live files: merging new rows into a day gives what a rebuild from raw would give.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from pipelines.connectors import registry
from pipelines.contracts.usage import CoreDuplicates, CoreMeters, CoreQuarantine, CoreUsage
from pipelines.core.day_merge import IDS, DecidedDay, conflicts_of, decide_days, duplicates_of
from pipelines.core.known_rows import LOST, KnownRows, as_rows, held_rows, in_one
from pipelines.core.request_homes import RequestHomes
from pipelines.core.rows_in_transit import forget_transit, keep_in_transit
from pipelines.intake.landing import Ledger, stands_as_found
from pipelines.intake.reading import stage
from pipelines.intake.staging import (
    Progress,
    mark_for_merge,
    mark_for_rebuild,
    pending_files,
    pending_merges,
    pending_rebuilds,
    restage_lost_pieces,
    staged_pieces,
)
from pipelines.lake import MOST_WAITING, Lake, Replacement
from pipelines.piece_files import open_piece, write_partition
from pipelines.pieces import Piece
from pipelines.settings import Settings
from pipelines.transforms.canonical_rows import ROWS_SCHEMA
from pipelines.transforms.deduplication import KEY, id_hashes

_USAGE = "core__usage"
_ROWS_TOGETHER = 250_000
_DAYS_TOGETHER = 64
"""Days that follow one another are decided together until they have so many rows, and no more of them."""


@dataclass
class DaysReport:
    """Which days were merged or rebuilt. `missing_raw` names files that a rebuild wanted and landing/ no longer
    holds."""

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
    afresh = {*rebuild, *pending_rebuilds(lake).get(_USAGE, set())}
    report.missing_raw = restage_lost_pieces(settings, lake, ledger)
    merger = _Merger(lake, ledger, precedence, afresh)
    pending = pending_files(lake)
    for landed_file, staged_in in pending.items():
        merger.cover(landed_file, staged_in, None)
    again, missing = _reread(settings, lake, ledger, afresh, set(pending))
    report.missing_raw = sorted({*report.missing_raw, *missing})
    for landed_file, whole in again.items():
        merger.cover(landed_file, landed_file, None if whole else frozenset(afresh))
    merger.gather()
    touched = {*merger.pieces, *merger.moved, *merger.leaving, *afresh, *pending_merges(lake)}
    touched |= ledger.days_of(file for file, days in merger.covered.items() if days is None).get(_USAGE, set())
    queue = sorted(touched)
    with lake.replacing() as replacement, _Writer(lake, ledger, replacement, settings.threads) as writer:
        while queue:
            decided = merger.decide_next(queue)
            following = _days_after(decided[-1].day, 1)
            if following not in queue and merger.shares_calls_with(following):
                # Once these days are written, nothing else tells that the following one waits for them.
                mark_for_merge(lake, [following])
                heapq.heappush(queue, following)
            for day in decided:
                if progress:
                    progress(f"merging {day.day}", len(report.days), len(report.days) + len(decided) + len(queue))
                writer.write(day)
                report.days.append(day.day)
    merger.save_homes()
    return report


def _days_after(day: str, days: int) -> str:
    return str(date.fromisoformat(day) + timedelta(days=days))


def _reread(
    settings: Settings, lake: Lake, ledger: Ledger, days: set[str], pending: set[str]
) -> tuple[dict[str, bool], list[str]]:
    """Stage the request rows of `days` again from every raw file that touches them.

    Gives the files that were read (True: all their days) and those whose raw bytes are gone.
    """
    wanted = set(ledger.files_touching((_USAGE,), days)) - pending if days else set()
    found = {file.landed_file: file for file in ledger.found(settings, wanted) if stands_as_found(file)}
    read = {}
    for landed_file, file in sorted(found.items()):
        read[landed_file] = registry.has_global_keys(file.source)
        facts = stage(settings, lake, file, only_days=None if read[landed_file] else frozenset(days))
        ledger.correct(landed_file, **facts)
    return read, sorted(wanted - set(found))


class _Merger:
    """State of one merge over many days: what is staged for each, which files are staged, which rows move."""

    def __init__(self, lake: Lake, ledger: Ledger, precedence: dict[str, int], afresh: set[str]) -> None:
        self.lake = lake
        self.precedence = precedence
        self.afresh = afresh
        self.live = sorted(ledger.live_files())
        self.covered: dict[str, frozenset[str] | None] = {}
        self.staged: dict[str, list[str]] = {}
        self.pieces: dict[str, list[Path]] = {}
        self.away: dict[Path, pl.Series] = {}
        self.moved: dict[str, list[pl.DataFrame]] = {}
        self.leaving: dict[str, list[tuple[str, pl.DataFrame]]] = {}
        self.homes: dict[str, RequestHomes] = {}
        self.held_ids = lake.partitions(IDS)
        self.last: DecidedDay | None = None
        self.ids_were: pl.Series | None = None

    def cover(self, landed_file: str, staged_in: str, days: frozenset[str] | None) -> None:
        """This file is staged, for all its days (None) or some: what the lake holds of it there is void."""
        self.covered[landed_file] = days
        self.staged.setdefault(staged_in, []).append(landed_file)

    def gather(self) -> None:
        """Sort staged pieces by day; rows of sources with global keys go to the day on which their call was first
        seen."""
        homeless: dict[str, list[Path]] = {}
        for staged_in, files in self.staged.items():
            paths = staged_pieces(self.lake, staged_in)
            if not paths:
                continue
            source = open_piece(paths[0]).constants["source"].item()
            if registry.has_global_keys(source):
                homeless.setdefault(source, []).extend(paths)
                continue
            wanted = self.covered[files[0]]
            for path in paths:
                day = path.parent.name
                if wanted is None or day in wanted:
                    self.pieces.setdefault(day, []).append(path)
        for source, paths in homeless.items():
            self._send_home(source, paths)

    def _open(self, path: Path) -> Piece:
        """A staged piece, without rows of files that were read with it and do not count any more or are staged anew."""
        piece = open_piece(path)
        gone = piece.values("landed_file") - set(self.staged[path.parents[1].name])
        return piece.only(~piece.is_one_of("landed_file", pl.Series(sorted(gone)))) if gone else piece

    def _send_home(self, source: str, paths: list[Path]) -> None:
        home = self.homes[source] = RequestHomes(self.lake, source, self.afresh)
        pieces = [self._open(path) for path in paths]
        told = pl.concat([piece.frame([*KEY, "usage_date"]) for piece in pieces])
        homes = home.find(told, self._left_behind(source))
        is_away = homes != told["usage_date"]
        at = 0
        for path, piece in zip(paths, pieces, strict=True):
            away, at_home = is_away.slice(at, len(piece)), homes.slice(at, len(piece))
            at += len(piece)
            if away.any():
                self._move(as_rows(piece.only(away)).with_columns(at_home.filter(away)))
                self.away[path] = away
            if not away.all():
                self.pieces.setdefault(path.parent.name, []).append(path)
        moves = home.moves()
        if not moves:
            return
        goals = {str(goal) for keys in moves.values() for goal in keys["usage_date"].unique()}
        # A merge that dies between two of these days must not leave a call on both: they are then rebuilt from raw.
        mark_for_rebuild(self.lake, {_USAGE: {*moves, *goals}})
        for day, keys in moves.items():
            self.leaving.setdefault(day, []).append((source, keys))
            self._move(home.rows_to_move(day, keys).filter(self._stays(day)))

    def _move(self, rows: pl.DataFrame) -> None:
        for (day,), mine in rows.partition_by("usage_date", as_dict=True).items():
            self.moved.setdefault(str(day), []).append(mine)

    def _left_behind(self, source: str) -> pl.DataFrame:
        """Calls on days afresh that no raw file tells any more, but the lake still holds."""
        schema = {name: ROWS_SCHEMA[name] for name in (*KEY, "usage_date")}
        found = [pl.DataFrame(schema=schema)]
        for day in sorted(self.afresh):
            for table in (_USAGE, LOST):
                held = self.lake.read(table, day, [*schema, "source", "landed_file"])
                if held is not None:
                    found.append(held.filter(self._stays(day) & (pl.col("source") == source)).select(list(schema)))
        return pl.concat(found)

    def _stays(self, day: str) -> pl.Expr:
        """Rows of the lake that count on `day`: of live files that are not staged for it."""
        staged = {file for file, days in self.covered.items() if days is None or day in days}
        return pl.col("landed_file").is_in(sorted(set(self.live) - staged))

    def decide_next(self, queue: list[str]) -> list[DecidedDay]:
        """The first day of the heap `queue`, decided, and with it small ones that follow it without a gap."""
        known: list[tuple[str, KnownRows]] = []
        rows = 0
        while not known or self._goes_along(queue, known, rows):
            day = heapq.heappop(queue)
            known.append((day, self._known(day)))
            rows += len(known[-1][1])
        first, last = known[0][0], known[-1][0]
        sources = {source for _, mine in known for source in mine.sources()}
        before = _days_after(first, -1)
        self.ids_were = self._lake_ids(last)
        ids_before = self.last.ids if self.last and self.last.day == before else self._lake_ids(before)
        decided = decide_days(
            known,
            registry.merge_rules(sources),
            self.precedence,
            ids_before,
            lambda hashes, last=self.last: self._rows_of(before, hashes, last),  # type: ignore[misc]
        )
        self.last = decided[-1]
        return decided

    def _goes_along(self, queue: list[str], known: list[tuple[str, KnownRows]], rows: int) -> bool:
        is_next = bool(queue) and queue[0] == _days_after(known[-1][0], 1)
        return is_next and rows < _ROWS_TOGETHER and len(known) < _DAYS_TOGETHER

    def _known(self, day: str) -> KnownRows:
        """Everything known of one day. A day is asked for once: its pieces are open until it is written."""
        known = held_rows(self.lake, day, self._stays(day))
        for source, keys in self.leaving.get(day, []):
            known = known.without(source, keys)
        for path in self.pieces.pop(day, []):
            away = self.away.pop(path, None)
            piece = self._open(path)
            known.pieces.append(piece if away is None else piece.only(~away))
        if any("landed_file" not in piece.constants.columns for piece in known.pieces):
            known.pieces = [in_one(known.pieces)]
        if day in self.moved:
            known.loose = pl.concat([known.loose, *self.moved.pop(day)])
        return known

    def _lake_ids(self, day: str) -> pl.Series | None:
        """Id hashes of all rows of a day as the lake holds it, accepted or lost; None for a day without rows."""
        partition = self.held_ids.get(day)
        if partition is None:
            return None
        if partition.signature == pl.__version__:
            return pl.read_parquet(self.lake.path(IDS, day))["id_hash"]
        ids = [self.lake.read(table, day, ["request_id"]) for table in (_USAGE, LOST)]
        return pl.concat([id_hashes(frame) for frame in ids if frame is not None])

    def _rows_of(self, day: str, hashes: pl.Series, last: DecidedDay | None) -> pl.DataFrame:
        if last and last.day == day:
            return last.rows_with(hashes)
        found = [pl.DataFrame(schema=ROWS_SCHEMA)]
        for table in (_USAGE, LOST):
            held = self.lake.read(table, day)
            if held is not None:
                absent = [pl.lit(None, dtype=ROWS_SCHEMA[n]).alias(n) for n in ROWS_SCHEMA if n not in held.columns]
                mine = held.filter(id_hashes(held).is_in(hashes.implode()))
                found.append(mine.with_columns(absent).select(list(ROWS_SCHEMA)))
        return pl.concat(found)

    def shares_calls_with(self, following: str) -> bool:
        """True when the day after holds an id of the day just decided (as it was or is): it must be decided again."""
        theirs = self._lake_ids(following) if self.lake.path(_USAGE, following).exists() else None
        if theirs is None or self.last is None:
            return False
        mine = [self.last.ids] if self.ids_were is None else [self.last.ids, self.ids_were]
        return any(bool(theirs.is_in(ids.implode()).any()) for ids in mine)

    def save_homes(self) -> None:
        """Remember where calls with global keys live now."""
        for home in self.homes.values():
            home.save()


class _Writer:
    """Writes decided days while the next ones are being decided, each day by one thread, and commits many at once."""

    def __init__(self, lake: Lake, ledger: Ledger, replacement: Replacement, threads: int) -> None:
        self._lake = lake
        self._ledger = ledger
        self._replacement = replacement
        self._threads = threads
        self._pool = ThreadPoolExecutor(max_workers=threads)
        self._under_way: deque[Future[None]] = deque()
        self._counts: dict[str, list[tuple[str, int, int, int, int]]] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._commit()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def write(self, decided: DecidedDay) -> None:
        """Start writing a day; returns when few enough are under way."""
        if len(self._replacement) >= MOST_WAITING:
            self._commit()
        self._under_way.append(self._pool.submit(self._write_day, decided))
        while len(self._under_way) >= self._threads:
            self._under_way.popleft().result()

    def _write_day(self, decided: DecidedDay) -> None:
        """The partitions of one day. Rows of core__usage kept their contract when they were staged."""
        day, write = decided.day, self._replacement.write
        if self._lake.path(_USAGE, day).exists():
            keep_in_transit(self._lake, day, self._lake.read(LOST, day), decided.lost)
        write(_USAGE, day, lambda path: write_partition(decided.pieces, CoreUsage, path))
        write("core__meters", day, decided.meters, CoreMeters)
        write("core__duplicates", day, duplicates_of(decided.lost), CoreDuplicates)
        write(LOST, day, decided.lost)
        write(IDS, day, lambda path: _write_hashes(decided.ids, path), signature=pl.__version__)
        conflicts = conflicts_of(decided.lost)
        if len(conflicts):
            write("core__quarantine", f"day-{day}", conflicts, CoreQuarantine)
        elif self._lake.path("core__quarantine", f"day-{day}").exists():
            self._replacement.remove("core__quarantine", f"day-{day}")
        self._counts[day] = decided.counts()

    def _commit(self) -> None:
        while self._under_way:
            self._under_way.popleft().result()
        self._replacement.commit()
        for day in self._counts:
            forget_transit(self._lake, day)
        self._ledger.set_day_counts(_USAGE, dict(sorted(self._counts.items())))
        self._counts = {}


def _write_hashes(ids: pl.Series, path: Path) -> int:
    """Hashes are noise: packing them costs time and saves nothing."""
    ids.to_frame().write_parquet(path, compression="uncompressed")
    return len(ids)
