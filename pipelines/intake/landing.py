"""Landing: which files are there, which are new, and what became of each. The file ledger lives here.

What lives here: walking landing/, settling, identity, decompression with a bound, the ledger. What does not: what a
file says (connectors/), what happens to its rows (staging.py).
Raw files are never edited. Identity is source + account folder + bytes + mapping, so the same bytes dropped twice are a
no-op and new bytes at a known path are a new version.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pipelines.contracts.fields import DEFAULT_ACCOUNT, polars_schema
from pipelines.contracts.usage import CoreLandedFiles
from pipelines.lake import Lake
from pipelines.settings import Settings

_IGNORED = re.compile(r"(^\.)|(\.(tmp|part|partial|crdownload)$)|((^|\.)mapping\.toml$)")


@dataclass(frozen=True)
class FoundFile:
    """A file that stands below landing/<source>/."""

    source: str
    relative_path: str
    path: Path
    size_bytes: int
    modified_ns: int
    sha256: str = ""
    landed_file: str = ""
    mapping: str | None = None

    @property
    def account(self) -> str:
        """The first sub-folder, else `default`."""
        parts = Path(self.relative_path).parts
        return parts[0] if len(parts) > 1 else DEFAULT_ACCOUNT


@dataclass
class Survey:
    """What a walk of landing/ found. `fresh` files have new bytes; `unsettled` ones are still being written."""

    fresh: list[FoundFile]
    unsettled: list[FoundFile]
    unknown_sources: dict[str, int]
    known: int


def survey(settings: Settings, ledger: Ledger, sources: Iterable[str]) -> Survey:
    """Walk landing/ and tell new bytes from known ones. Files whose path, size and time are known are not read again.

    A file younger than `settle_seconds` is looked at again after `settle_wait_seconds`; if its size or time moved it is
    left for the next run. Folders that are no source are counted by name, never read.
    """
    found, unknown = _listing(settings, sources)
    remembered = ledger.remembered()
    candidates = [file for file in found if remembered.get((file.source, file.relative_path)) != _stamp(file)]
    settled, unsettled = _settle(candidates, settings)
    with ThreadPoolExecutor(settings.threads) as beside:
        fresh = [identified for identified in beside.map(_identify, settled) if not ledger.is_current(identified)]
    return Survey(fresh, unsettled, unknown, len(found) - len(candidates))


def unseen(settings: Settings, ledger: Ledger, sources: Iterable[str]) -> tuple[list[FoundFile], dict[str, int]]:
    """Files of which the ledger does not know path, size and time, and folders that are no source. Reads no file.

    A look that costs one walk of landing/: for sensors, and to tell that there is nothing to do.
    """
    found, unknown = _listing(settings, sources)
    remembered = ledger.remembered()
    return [file for file in found if remembered.get((file.source, file.relative_path)) != _stamp(file)], unknown


def _listing(settings: Settings, sources: Iterable[str]) -> tuple[list[FoundFile], dict[str, int]]:
    known_sources = set(sources)
    found: list[FoundFile] = []
    unknown: dict[str, int] = {}
    if settings.landing.is_dir():
        for folder in sorted(p for p in settings.landing.iterdir() if not p.name.startswith(".")):
            if folder.is_dir() and folder.name in known_sources:
                found.extend(_walk(folder))
            else:
                unknown[folder.name] = sum(1 for _ in _walk(folder)) if folder.is_dir() else 1
    return found, unknown


def _walk(folder: Path) -> Iterator[FoundFile]:
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _IGNORED.search(name):
                continue
            path = Path(directory) / name
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield FoundFile(
                folder.name,
                path.relative_to(folder).as_posix(),
                path,
                status.st_size,
                status.st_mtime_ns,
                mapping=_mapping(path),
            )


def _mapping(path: Path) -> str | None:
    for beside in (path.with_name(f"{path.name}.mapping.toml"), path.with_name("mapping.toml")):
        if beside.is_file():
            return beside.read_text(encoding="utf-8-sig")
    return None


def _stamp(file: FoundFile) -> tuple[int, int, str]:
    return file.size_bytes, file.modified_ns, _text_sha256(file.mapping or "")


def _settle(files: list[FoundFile], settings: Settings) -> tuple[list[FoundFile], list[FoundFile]]:
    now = time.time_ns()
    young = {file.path for file in files if abs(now - file.modified_ns) < settings.settle_seconds * 1e9}
    if not young:
        return files, []
    time.sleep(settings.settle_wait_seconds)
    settled, unsettled = [], []
    for file in files:
        if file.path in young:
            try:
                status = file.path.stat()
            except FileNotFoundError:
                continue
            if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
                unsettled.append(file)
                continue
        settled.append(file)
    return settled, unsettled


def _identify(file: FoundFile) -> FoundFile:
    with file.path.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    identity = "\0".join((file.source, file.account, sha256, file.mapping or ""))
    return replace(file, sha256=sha256, landed_file=_text_sha256(identity)[:16])


def stands_as_found(file: FoundFile) -> bool:
    """True while the file has the size and time with which it was found: nobody wrote to it since."""
    try:
        status = file.path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.modified_ns)


def _text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Ledger:
    """The file ledger: one row per landed file version, kept in the lake's index and published as
    core__landed_files."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        with lake.index() as index:
            index.executescript(_LEDGER_TABLES)

    def remembered(self) -> dict[tuple[str, str], tuple[int, int, str]]:
        """(source, path) → size, modification time and mapping digest of the version last looked at."""
        with self.lake.index() as index:
            rows = index.execute(
                "SELECT source, relative_path, size_bytes, modified_ns, mapping_sha256 FROM paths"
            ).fetchall()
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}

    def is_current(self, file: FoundFile) -> bool:
        """True when this path is known with these bytes (only its time changed); remembers the new time."""
        with self.lake.index() as index:
            row = index.execute(
                "SELECT landed_file FROM paths WHERE source = ? AND relative_path = ?",
                (file.source, file.relative_path),
            ).fetchone()
            if row is None or row[0] != file.landed_file:
                return False
            index.execute(
                "UPDATE paths SET size_bytes = ?, modified_ns = ? WHERE source = ? AND relative_path = ?",
                (file.size_bytes, file.modified_ns, file.source, file.relative_path),
            )
        return True

    def owner(self, landed_file: str) -> str | None:
        """The live status of an identity (`ingested` or `rejected`), None when it never landed or was retracted."""
        with self.lake.index() as index:
            row = index.execute(
                "SELECT status FROM files WHERE landed_file = ? AND status IN ('ingested', 'rejected')", (landed_file,)
            ).fetchone()
        return None if row is None else str(row[0])

    def previous_version(self, file: FoundFile) -> str | None:
        """The identity that stood at this path before, if no other path still holds it."""
        with self.lake.index() as index:
            row = index.execute(
                "SELECT landed_file FROM paths WHERE source = ? AND relative_path = ?",
                (file.source, file.relative_path),
            ).fetchone()
            if row is None:
                return None
            elsewhere = index.execute(
                "SELECT count(*) FROM paths WHERE landed_file = ? AND NOT (source = ? AND relative_path = ?)",
                (row[0], file.source, file.relative_path),
            ).fetchone()[0]
        return None if elsewhere else str(row[0])

    def record(self, file: FoundFile, status: str, landed_at: datetime, **facts: object) -> None:
        """Write one file's outcome: `ingested`, `duplicate` or `rejected`, with `records`, `not_usage`,
        `rejected_records`,
        `reason_code` and `reason` where they apply."""
        with self.lake.index() as index:
            index.execute(
                "INSERT OR REPLACE INTO paths VALUES (?, ?, ?, ?, ?, ?)",
                (
                    file.source,
                    file.relative_path,
                    file.size_bytes,
                    file.modified_ns,
                    _text_sha256(file.mapping or ""),
                    file.landed_file,
                ),
            )
            index.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    file.landed_file, file.source, file.relative_path, file.account, file.sha256, file.size_bytes,
                    file.modified_ns, landed_at.isoformat(), status, facts.get("reason_code"), facts.get("reason"),
                    facts.get("records", 0), facts.get("not_usage", 0), facts.get("rejected_records", 0),
                ),
            )  # fmt: skip

    def correct(self, landed_file: str, records: int, not_usage: int, rejected_records: int) -> None:
        """Replace what reading a live file gave, after it was read again."""
        with self.lake.index() as index:
            index.execute(
                "UPDATE files SET records = ?, not_usage = ?, rejected_records = ?"
                " WHERE landed_file = ? AND status = 'ingested'",
                (records, not_usage, rejected_records, landed_file),
            )

    def live_files(self) -> set[str]:
        """Files whose rows count, by identity."""
        with self.lake.index() as index:
            return {row[0] for row in index.execute("SELECT landed_file FROM files WHERE status = 'ingested'")}

    def retract(self, landed_file: str) -> None:
        """Mark a version as replaced by newer bytes at its path; its day counts go."""
        with self.lake.index() as index:
            index.execute(
                "UPDATE files SET status = 'retracted' WHERE landed_file = ? AND status <> 'duplicate'", (landed_file,)
            )
            index.execute("DELETE FROM file_days WHERE landed_file = ?", (landed_file,))

    def set_day_counts(self, table: str, days: Mapping[str, Iterable[tuple[str, int, int, int, int]]]) -> None:
        """Replace what days of one core table hold per file: (landed_file, accepted, duplicate, superseded,
        quarantined)."""
        with self.lake.index() as index:
            index.executemany(
                "DELETE FROM file_days WHERE table_name = ? AND usage_date = ?", [(table, day) for day in days]
            )
            index.executemany(
                "INSERT OR REPLACE INTO file_days VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(file, table, day, *numbers) for day, counts in days.items() for file, *numbers in counts],
            )

    def add_bucket_days(self, table: str, landed_file: str, days: Iterable[str]) -> None:
        """Remember which days a file's buckets cover, empty ones too; they hold no rows of their own to count."""
        with self.lake.index() as index:
            index.executemany(
                "INSERT OR REPLACE INTO file_days VALUES (?, ?, ?, 0, 0, 0, 0)",
                [(landed_file, table, day) for day in days],
            )

    def described(self, landed_files: Iterable[str]) -> list[tuple[str, str, str, int]]:
        """(identity, account folder, path, modification time) of live files."""
        wanted = set(landed_files)
        with self.lake.index() as index:
            rows = index.execute(
                "SELECT landed_file, account, relative_path, modified_ns FROM files WHERE status = 'ingested'"
            ).fetchall()
        return sorted(row for row in rows if row[0] in wanted)

    def days_of(self, landed_files: Iterable[str]) -> dict[str, set[str]]:
        """Core table → days that the given files touch."""
        days: dict[str, set[str]] = {}
        with self.lake.index() as index:
            for landed_file in landed_files:
                for table, day in index.execute(
                    "SELECT table_name, usage_date FROM file_days WHERE landed_file = ?", (landed_file,)
                ):
                    days.setdefault(table, set()).add(day)
        return days

    def files_of(self, source: str) -> list[str]:
        """Live files of a source, by identity."""
        with self.lake.index() as index:
            rows = index.execute(
                "SELECT landed_file FROM files WHERE source = ? AND status = 'ingested'", (source,)
            ).fetchall()
        return sorted(row[0] for row in rows)

    def files_touching(self, tables: tuple[str, ...], days: Iterable[str]) -> list[str]:
        """Live files with rows of any of the core tables on any of the days, by identity."""
        with self.lake.index() as index:
            touched = {
                row[0]
                for day in days
                for row in index.execute("SELECT landed_file, table_name FROM file_days WHERE usage_date = ?", (day,))
                if row[1] in tables
            }
        return sorted(touched)

    def found(self, settings: Settings, landed_files: Iterable[str]) -> list[FoundFile]:
        """The landed files of these identities as they stand in landing/; absent ones are left out."""
        wanted = set(landed_files)
        with self.lake.index() as index:
            rows = index.execute(_STANDING_PATHS).fetchall()
        files: dict[str, FoundFile] = {}
        for source, relative_path, size, modified, sha256, landed_file in rows:
            path = settings.landing / source / relative_path
            if landed_file in wanted and landed_file not in files and path.exists():
                files[landed_file] = FoundFile(
                    source, relative_path, path, size, modified, sha256, landed_file, _mapping(path)
                )
        return sorted(files.values(), key=lambda file: (file.source, file.relative_path))

    def frame(self) -> pl.DataFrame:
        """core__landed_files: the ledger with its counts, one row per file version."""
        with self.lake.index() as index:
            rows = index.execute(_LEDGER_FRAME).fetchall()
        schema = polars_schema(CoreLandedFiles)
        records = []
        for row in rows:
            record = list(row)
            record[6] = datetime.fromtimestamp(record[6] / 1e9, UTC)
            record[7] = datetime.fromisoformat(record[7])
            for position in (-2, -1):
                record[position] = datetime.fromisoformat(record[position]).date() if record[position] else None
            records.append(record)
        return pl.DataFrame(records, schema=schema, orient="row")


_LEDGER_TABLES = """
CREATE TABLE IF NOT EXISTS paths (
    source TEXT, relative_path TEXT, size_bytes INTEGER, modified_ns INTEGER, mapping_sha256 TEXT, landed_file TEXT,
    PRIMARY KEY (source, relative_path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS paths_by_file ON paths (landed_file);
CREATE TABLE IF NOT EXISTS files (
    landed_file TEXT, source TEXT, relative_path TEXT, account TEXT, sha256 TEXT, size_bytes INTEGER, modified_ns
    INTEGER,
    landed_at TEXT, status TEXT, reason_code TEXT, reason TEXT, records INTEGER, not_usage INTEGER, rejected_records
    INTEGER, PRIMARY KEY (landed_file, source, relative_path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file_days (
    landed_file TEXT, table_name TEXT, usage_date TEXT,
    accepted INTEGER, duplicate INTEGER, superseded INTEGER, quarantined INTEGER,
    PRIMARY KEY (landed_file, table_name, usage_date)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_days_by_day ON file_days (usage_date);
"""

_STANDING_PATHS = """
SELECT DISTINCT p.source, p.relative_path, p.size_bytes, p.modified_ns, f.sha256, p.landed_file
FROM paths AS p JOIN files AS f ON f.landed_file = p.landed_file AND f.status IN ('ingested', 'rejected')
ORDER BY p.source, p.relative_path
"""

_LEDGER_FRAME = """
SELECT f.landed_file, f.source, f.relative_path, f.account, f.sha256, f.size_bytes, f.modified_ns, f.landed_at,
f.status, f.reason_code, f.reason, f.records, coalesce(d.accepted, 0), coalesce(d.quarantined, 0) + f.rejected_records,
       coalesce(d.duplicate, 0), coalesce(d.superseded, 0), f.not_usage, d.first_day, d.last_day
FROM files AS f
LEFT JOIN (
    SELECT landed_file, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(superseded) AS superseded,
           sum(quarantined) AS quarantined, min(usage_date) AS first_day, max(usage_date) AS last_day
    FROM file_days GROUP BY landed_file
) AS d ON d.landed_file = f.landed_file AND f.status = 'ingested'
ORDER BY f.source, f.relative_path, f.landed_file
"""
