"""The doctor: is this machine fit to run, and is this home in order? Every finding says what to do next.

What lives here: looking, one function per subject, and words for what was seen. What does not: repairing anything,
checks of the numbers (check_run.py), the environment (settings.py reads it). Only a probe file is written.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from pipelines.connectors import registry
from pipelines.errors import NotFoundError, TokenMartError
from pipelines.inspection.check_run import indexed_files
from pipelines.intake.landing import Ledger, unseen
from pipelines.intake.staging import pending_files, pending_rebuilds
from pipelines.lake import Lake, file_sha256
from pipelines.publish.layout import Layout
from pipelines.publish.manifest import verify_files
from pipelines.publish.readers import current, open_snapshot
from pipelines.settings import Settings
from pipelines.transforms.price_book import load_price_book
from pipelines.transforms.price_guards import gaps, steps
from pipelines.transforms.reference_tables import load_reference

Verdict = Literal["ok", "warn", "fail"]
GIB = 1024**3
LEAST_FREE_BYTES = 1 * GIB
COMFORTABLE_FREE_BYTES = 10 * GIB
SPOT_CHECKS = 20
"""Partitions whose bytes are compared with the index; `tokenmart check` compares all of them."""
_MOST_NAMED = 5
_LAKE_AGAIN = (
    "`tokenmart run` builds ref__, int__ and mart__ again, `tokenmart backfill --from A --to B` days of core__"
)
_ON_ONE_PATCH = ("dagster", "dagster-webserver", "dagster-dg-cli")
_LIBRARIES = ("duckdb", "polars", "pyarrow", "pandera", "typer")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, the verdict, what was seen, and the next move unless all is well."""

    subject: str
    verdict: Verdict
    seen: str
    next_move: str = ""


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which they matter. A part that cannot be looked at is itself a finding."""
    findings: list[Finding] = []
    for subject, look in _EXAMINATIONS:
        try:
            findings.extend(look(settings))
        except TokenMartError as error:
            findings.append(Finding(subject, "fail", _without_home(settings, error.what, error.where), error.next_move))
        except (OSError, sqlite3.DatabaseError, duckdb.Error, pl.exceptions.PolarsError) as error:
            seen = _without_home(settings, f"cannot be looked at: {error}")
            findings.append(
                Finding(subject, "fail", seen, "see whether the file is whole and readable; restore it if not")
            )
    return findings


def _without_home(settings: Settings, *texts: str) -> str:
    return "; ".join(text for text in texts if text).replace(str(settings.home), "<home>")


def _python(_settings: Settings) -> Iterator[Finding]:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("python", "ok", found)
    else:
        yield Finding("python", "fail", found, "install Python 3.11 to 3.13 and make the environment again")


def _libraries(_settings: Settings) -> Iterator[Finding]:
    versions = {name: metadata.version(name) for name in (*_ON_ONE_PATCH, *_LIBRARIES)}
    patches = {versions[name] for name in _ON_ONE_PATCH}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    if len(patches) == 1:
        yield Finding("libraries", "ok", told)
    else:
        yield Finding(
            "libraries", "fail", told, "bring the dagster packages to one patch: install from requirements.lock"
        )


def _home(settings: Settings) -> Iterator[Finding]:
    if not settings.home.is_dir():
        yield Finding("home", "warn", "the home does not exist yet", "`tokenmart demo` or `tokenmart run` makes it")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=settings.home, prefix=".probe-"):
            yield Finding("home", "ok", "the home is writable")
    except OSError as error:
        yield Finding("home", "fail", f"cannot be written: {error.strerror}", "give this user the right to write there")


def _disk(settings: Settings) -> Iterator[Finding]:
    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    seen = f"{free / GIB:.1f} GiB free"
    if free < LEAST_FREE_BYTES:
        yield Finding(
            "disk", "fail", seen, "free space before the next run: partitions are written beside the old ones"
        )
    elif free < COMFORTABLE_FREE_BYTES:
        yield Finding("disk", "warn", seen, "free space, or move the home: `tokenmart --home DIR`")
    else:
        yield Finding("disk", "ok", seen)


def _settings(settings: Settings) -> Iterator[Finding]:
    seen = f"{settings.threads} threads, {settings.memory_limit} of memory for queries"
    if settings.threads > (os.cpu_count() or 1):
        yield Finding("settings", "warn", f"{seen}, on {os.cpu_count()} cores", "lower TOKENMART_THREADS")
    else:
        yield Finding("settings", "ok", seen)
    key = settings.home / ".hash_key"
    if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Finding("hash key", "fail", "others can read <home>/.hash_key", "chmod 600 the file")


def _clock(settings: Settings) -> Iterator[Finding]:
    if settings.fixed_now is not None:
        seen = f"the clock is fixed at {settings.fixed_now.isoformat()}"
        yield Finding("clock", "warn", seen, "unset TOKENMART_NOW unless this is a test or a re-run")
    else:
        yield Finding("clock", "ok", f"{settings.now().isoformat()} UTC")
    if not settings.landing.is_dir():
        return
    ahead = time.time() + 300
    future = sorted(
        path.relative_to(settings.home).as_posix()
        for path in settings.landing.rglob("*")
        if path.is_file() and path.stat().st_mtime > ahead
    )
    if future:
        seen = f"{len(future)} landed files are newer than now: {_named(future)}"
        yield Finding("clock", "warn", seen, "set this machine's clock, or the one that wrote the files")


def _landing(settings: Settings) -> Iterator[Finding]:
    if not settings.landing.is_dir():
        yield Finding(
            "landing", "warn", "nothing has landed", "put exports below landing/<source>/, or `tokenmart demo`"
        )
        return
    lake = Lake(settings.lake)
    waiting, strange = unseen(settings, Ledger(lake), registry.SOURCES) if settings.lake.is_dir() else ([], {})
    if strange:
        names = _named([f"{name} ({count} files)" for name, count in sorted(strange.items())])
        move = "rename them to a source: " + ", ".join(registry.SOURCES)
        yield Finding("landing", "warn", f"folders that are no source: {names}", move)
    if waiting:
        names = _named([f"{file.source}/{file.relative_path}" for file in waiting])
        seen = f"{len(waiting)} files are new, or still being written: {names}"
        yield Finding("landing", "warn", seen, "`tokenmart run` takes them in once they stop growing")
    if not strange and not waiting:
        yield Finding("landing", "ok", "every landed file is known")


def _files(settings: Settings) -> Iterator[Finding]:
    if not settings.lake.is_dir():
        return
    lake = Lake(settings.lake)
    ledger = Ledger(lake).frame()
    rejected = ledger.filter(pl.col("status") == "rejected")
    for row in rejected.head(_MOST_NAMED).iter_rows(named=True):
        why = f"({row['reason_code']}): {row['reason'].splitlines()[0]}"
        seen = f"{row['source']}/{row['relative_path']} is rejected {why}"
        yield Finding("files", "warn", seen, "put the file right at its path, or `tokenmart quarantine replay`")
    if rejected.height > _MOST_NAMED:
        seen = f"{rejected.height - _MOST_NAMED} more files are rejected"
        yield Finding("files", "warn", seen, "`tokenmart quarantine list` shows them")
    live = ledger.filter(pl.col("status") == "ingested")
    gone = [
        f"{source}/{path}"
        for source, path in live.select("source", "relative_path").iter_rows()
        if not (settings.landing / source / path).exists()
    ]
    if gone:
        seen = f"{len(gone)} ingested files are no longer in landing/: {_named(gone)}"
        yield Finding("files", "warn", seen, "put them back: without raw files a backfill cannot rebuild their days")
    if rejected.is_empty() and not gone:
        yield Finding("files", "ok", f"{live.height} files ingested, none rejected")


def _unfinished(settings: Settings) -> Iterator[Finding]:
    if not settings.lake.is_dir():
        return
    lake = Lake(settings.lake)
    staged, days = pending_files(lake), {day for touched in pending_rebuilds(lake).values() for day in touched}
    if staged or days:
        seen = f"{len(staged)} files wait to be merged and {len(days)} days to be rebuilt"
        yield Finding("unfinished work", "warn", seen, "`tokenmart run` completes it; nothing is lost")
    else:
        yield Finding("unfinished work", "ok", "nothing waits to be merged")


def _locks(settings: Settings) -> Iterator[Finding]:
    layout = Layout.of(settings)
    for path, name in ((settings.lake / ".lock", "lake/.lock"), (layout.lock, "marts/.lock")):
        if path.exists() and _is_held(path):
            yield Finding("locks", "warn", f"somebody is writing now ({name})", "wait for that run to end")
    leftovers = [path.name for path in layout.leftovers()] if layout.root.is_dir() else []
    leftovers += [path.name for path in settings.lake.glob("*/.*.tmp")] if settings.lake.is_dir() else []
    if leftovers:
        seen = f"{len(leftovers)} leftovers of a run that was killed: {_named(leftovers)}"
        yield Finding(
            "locks", "warn", seen, "nothing reads them; the next publish sweeps its own, others may be deleted"
        )
    else:
        yield Finding("locks", "ok", "no leftovers of killed runs")


def _is_held(path: Path) -> bool:
    with path.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _reference(settings: Settings) -> Iterator[Finding]:
    tables = load_reference(settings)
    own = sorted(path.name for path in settings.reference.glob("*.csv")) if settings.reference.is_dir() else []
    seen = f"{len(tables)} tables load" + (f"; yours: {', '.join(own)}" if own else "; none of your own")
    yield Finding("reference tables", "ok", seen)


def _prices(settings: Settings) -> Iterator[Finding]:
    book = load_price_book(settings)
    yield Finding("price book", "ok", f"{book.height:,} prices, no overlap, no unit error")
    mine = book.filter(pl.col("layer_rank").is_in([0, 2]))
    jumps = steps(mine)
    if jumps.height:
        names = _named(jumps["price_id"].to_list())
        seen = f"{jumps.height} of your prices move by more than ten times: {names}"
        yield Finding("price book", "warn", seen, "check their unit; `tokenmart prices show MODEL` shows them")
    holes = gaps(mine)
    if holes.height:
        names = _named(sorted(set((holes["provider"] + "/" + holes["model"]).to_list())))
        seen = f"{holes.height} of your prices leave a gap in time: {names}"
        yield Finding("price book", "warn", seen, "usage inside a gap is unpriced; `tokenmart prices add` closes it")


def _published(settings: Settings) -> Iterator[Finding]:
    try:
        snapshot = current(settings)
    except NotFoundError as error:
        yield Finding("published marts", "warn", error.what, error.next_move)
        return
    verify_files(snapshot.path, snapshot.manifest)
    with open_snapshot(settings) as connection:
        marts = connection.execute("SHOW TABLES").fetchall()
    seen = f"{snapshot.snapshot_id}, {len(marts)} marts, published {snapshot.published_at.isoformat()}"
    yield Finding("published marts", "ok", seen)


def _lake(settings: Settings) -> Iterator[Finding]:
    if not settings.lake.is_dir():
        yield Finding("lake", "ok", "nothing is built yet")
        return
    lake = Lake(settings.lake)
    indexed = indexed_files(lake)
    missing = [f"{table}/{key}" for table, key, _ in indexed if not lake.path(table, key).is_file()]
    if missing:
        seen = f"{len(missing)} partitions of the index have no file: {_named(missing)}"
        yield Finding("lake", "fail", seen, _LAKE_AGAIN)
        return
    step = max(1, len(indexed) // SPOT_CHECKS)
    chosen = indexed[::step]
    other = [f"{table}/{key}" for table, key, sha256 in chosen if file_sha256(lake.path(table, key)) != sha256]
    if other:
        seen = f"{len(other)} of {len(chosen)} partitions have other bytes than the index knows: {_named(other)}"
        advice = f"nobody but a run may write there; remove them, `tokenmart check` names all: {_LAKE_AGAIN}"
        yield Finding("lake", "fail", seen, advice)
    else:
        yield Finding("lake", "ok", f"{len(indexed):,} partitions stand; {len(chosen)} compared byte for byte")


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


_EXAMINATIONS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
    ("python", _python),
    ("libraries", _libraries),
    ("home", _home),
    ("disk", _disk),
    ("settings", _settings),
    ("clock", _clock),
    ("landing", _landing),
    ("files", _files),
    ("unfinished work", _unfinished),
    ("locks", _locks),
    ("reference tables", _reference),
    ("price book", _prices),
    ("lake", _lake),
    ("published marts", _published),
)
