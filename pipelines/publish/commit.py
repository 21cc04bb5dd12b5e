"""The commit: who may write the marts, and how CURRENT moves. The order of steps is what makes a kill harmless.

What lives here: the lock, the sweep, steps 0 to 10 of publishing, rolling back. What does not: building a snapshot's
files (staging.py), retention (expiry.py).

CURRENT moves by one atomic rename, the only commit point. Before it nothing that a reader can reach has changed; after
it only the journal's line, the smoke read and retention are left, and the next writer makes up for a missing line.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import BusyError, PublishError
from pipelines.publish import durable, journal, staging
from pipelines.publish.database import Parent, build_database
from pipelines.publish.expiry import expire
from pipelines.publish.layout import DATABASE, Layout, snapshot_id
from pipelines.publish.manifest import (
    CanonicalFile,
    Manifest,
    checks_digest,
    closed_periods,
    content_digest,
    read_manifest,
    verify_files,
    write_manifest,
)
from pipelines.settings import PROJECT_ROOT, Settings

STEPS = (
    "locked",
    "swept",
    "staged",
    "first_file_written",
    "parquet_written",
    "tables_loaded",
    "database_built",
    "checked",
    "manifest_written",
    "sealed",
    "renamed",
    "link_made",
    "committed",
    "journalled",
    "smoke_read",
    "expired",
)
"""Names of the moments that `at_step` is told, in order; a writer may die at any of them."""

_SMOKE_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Published:
    """The outcome: the snapshot that is CURRENT now, its directory, and whether CURRENT moved."""

    snapshot_id: str
    path: Path
    is_new: bool
    parent: str | None
    manifest: Manifest


@dataclass(frozen=True)
class Request:
    """What to publish. `built_on`, when given, is the snapshot that was CURRENT when the build began; `journals` are
    the tables that stand outside the digest; `surveyed` are files of which the caller knows that they do not change."""

    tables: Mapping[str, Sequence[Path]]
    facts: Mapping[str, Any]
    checks: staging.Checks | None = None
    built_on: str | None = None
    journals: tuple[str, ...] = ()
    surveyed: tuple[CanonicalFile, ...] = ()


def _no_step(_name: str) -> None:
    """The default of `at_step`."""


@contextmanager
def writing(layout: Layout, patience_seconds: float) -> Iterator[None]:
    """Exclude every other publisher. The kernel frees the lock when a process dies, so none is ever left over.

    Raises BusyError when another still holds it after `patience_seconds`.
    """
    layout.snapshots.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a") as handle:
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(
                        "another run is publishing",
                        where="marts/.lock",
                        expected="one publisher at a time",
                        next_move="wait for it to end and start again",
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield


def sweep(settings: Settings, layout: Layout) -> None:
    """Put right what a dead writer left: staging directories, a half-made link, a missing line, an orphan snapshot."""
    for leftover in layout.leftovers():
        durable.remove_tree(leftover)
    layout.current_aside.unlink(missing_ok=True)
    lost = journal.orphan(layout)
    journal.settle(layout, settings.now())
    if lost is not None:
        durable.remove_tree(layout.snapshot(lost))


def publish_in_steps(
    settings: Settings, request: Request, *, patience_seconds: float, at_step: Callable[[str], None] = _no_step
) -> Published:
    """Steps 0 to 11. `at_step` is told each of STEPS right after it happened; tests make it end the process.

    Raises PublishError (nothing published unless it says so), CheckFailedError, BusyError.
    """
    layout = Layout.of(settings)
    with writing(layout, patience_seconds), _disk_faults("nothing was published, readers keep the last snapshot"):
        at_step("locked")
        sweep(settings, layout)
        parent = layout.current_id()
        _same_parent(request.built_on or parent, parent)
        at_step("swept")
        files = staging.survey(request.tables, request.surveyed)
        digest = content_digest(files, request.journals)
        before = None if parent is None else read_manifest(layout.snapshot(parent))
        if before is not None and before.digest == digest:
            return Published(before.snapshot_id, layout.snapshot(before.snapshot_id), False, before.parent, before)
        name = snapshot_id(journal.highest_sequence(layout) + 1, digest)
        aside = layout.staging(uuid.uuid4().hex)
        try:
            _new_staging(layout, aside)
            at_step("staged")
            manifest = _build(settings, layout, request, aside, name, files, before, at_step)
            _same_parent(parent, layout.current_id())
            durable.rename(aside, layout.snapshot(name))
            at_step("renamed")
        finally:
            durable.remove_tree(aside)
        line = journal.Line(manifest.published_at, name, "publish", parent)
        _go_live(settings, layout, line, at_step)
    return Published(name, layout.snapshot(name), True, parent, manifest)


def _build(
    settings: Settings,
    layout: Layout,
    request: Request,
    aside: Path,
    name: str,
    files: tuple[CanonicalFile, ...],
    before: Manifest | None,
    at_step: Callable[[str], None],
) -> Manifest:
    sources = {(table, path.stem): path for table, paths in request.tables.items() for path in paths}
    copied: list[CanonicalFile] = []
    for position, file in enumerate(files):
        parent_directory = None if before is None else layout.snapshot(before.snapshot_id)
        if staging.stage_file(aside, file, sources[file.table, file.partition], parent_directory):
            copied.append(file)
        if position == 0:
            at_step("first_file_written")
    at_step("parquet_written")
    database = aside / DATABASE
    parent = None if before is None else Parent(layout.snapshot(before.snapshot_id), before)
    built = build_database(settings, aside, database, name, files, parent, lambda: at_step("tables_loaded"))
    at_step("database_built")
    checked_with = None if request.checks is None else checks_digest(request.facts)
    if request.checks is not None:
        parent_passed = checked_with is not None and before is not None and before.checked_with == checked_with
        staging.run_checks(settings, built, database, request.checks, parent_passed=parent_passed)
    at_step("checked")
    closed_before = set() if before is None else before.closed_periods()
    manifest = Manifest(
        snapshot_id=name,
        digest=content_digest(files, request.journals),
        parent=None if before is None else before.snapshot_id,
        published_at=settings.now(),
        files=files,
        tables=built.tables,
        facts=request.facts,
        checked_with=checked_with,
        closes=tuple(sorted(closed_periods(request.facts) - closed_before)),
        journals=request.journals,
    )
    write_manifest(aside, manifest, settings.home)
    at_step("manifest_written")
    staging.seal(aside, manifest, copied)
    at_step("sealed")
    return manifest


def roll_back(
    settings: Settings, target: str, *, patience_seconds: float, at_step: Callable[[str], None] = _no_step
) -> Published:
    """Point CURRENT at an older snapshot and write the line; its `marts.duckdb` is rebuilt if it had expired."""
    layout = Layout.of(settings)
    with writing(layout, patience_seconds), _disk_faults("CURRENT was not moved"):
        at_step("locked")
        sweep(settings, layout)
        previous = layout.current_id()
        at_step("swept")
        manifest = read_manifest(layout.snapshot(target))
        if previous == target:
            return Published(target, layout.snapshot(target), False, manifest.parent, manifest)
        if not (layout.snapshot(target) / DATABASE).exists():
            _restore_database(settings, layout, manifest)
        line = journal.Line(settings.now(), target, "rollback", previous)
        _go_live(settings, layout, line, at_step)
    return Published(target, layout.snapshot(target), True, manifest.parent, manifest)


def _restore_database(settings: Settings, layout: Layout, manifest: Manifest) -> None:
    directory = layout.snapshot(manifest.snapshot_id)
    verify_files(directory, manifest)
    aside = layout.staging(uuid.uuid4().hex)
    try:
        _new_staging(layout, aside)
        build_database(settings, directory, aside / DATABASE, manifest.snapshot_id, manifest.files)
        (aside / DATABASE).chmod(durable.READ_ONLY)
        durable.rename(aside / DATABASE, directory / DATABASE)
    finally:
        durable.remove_tree(aside)


def _go_live(settings: Settings, layout: Layout, line: journal.Line, at_step: Callable[[str], None]) -> None:
    layout.current_aside.symlink_to(f"{layout.snapshots.name}/{line.snapshot_id}")
    at_step("link_made")
    os.replace(layout.current_aside, layout.current)
    with _disk_faults(f"{line.snapshot_id} is live; the next publish completes the journal"):
        durable.fsync(layout.root)
        at_step("committed")
        journal.append(layout, line)
        at_step("journalled")
        _smoke_read(layout, line)
        at_step("smoke_read")
        expire(settings, layout)
        at_step("expired")


def _smoke_read(layout: Layout, line: journal.Line) -> None:
    command = [sys.executable, "-m", "pipelines.publish.smoke", str(layout.root), line.snapshot_id]
    try:
        outcome = subprocess.run(  # noqa: S603 -- a fixed command of our own interpreter
            command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=_SMOKE_PATIENCE_SECONDS, check=False
        )
        complaint = outcome.stderr.strip() if outcome.returncode != 0 else None
    except subprocess.TimeoutExpired:
        complaint = f"no answer within {_SMOKE_PATIENCE_SECONDS:.0f} seconds"
    if complaint is not None:
        back = f"`tokenmart snapshots rollback {line.previous}`" if line.previous else "start again"
        raise PublishError(
            f"{line.snapshot_id} is live, but a fresh reader could not read it",
            where="marts/CURRENT",
            expected="every mart to open and to hold its rows",
            next_move=f"{back}; the reader said: {complaint.replace(str(layout.root), 'marts')[-300:]}",
        )


def _new_staging(layout: Layout, aside: Path) -> None:
    aside.mkdir()
    devices = {path.stat().st_dev for path in (layout.root, layout.snapshots, aside)}
    if len(devices) != 1:
        raise PublishError(
            "marts/ and marts/snapshots stand on different file systems",
            where="marts/snapshots",
            expected="one file system: a rename across two is not atomic",
            next_move="move the whole home, not a part of it",
        )


def _same_parent(expected: str | None, found: str | None) -> None:
    if expected != found:
        raise PublishError(
            f"CURRENT moved from {expected} to {found} during the build",
            where="marts/CURRENT",
            expected="the snapshot that the build began from",
            next_move="start again: the build then begins from the new one",
        )


@contextmanager
def _disk_faults(consequence: str) -> Iterator[None]:
    """An OSError in the block becomes a PublishError that says what became of the snapshot."""
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"the disk refused: {error.strerror or type(error).__name__}; {consequence}",
            where="marts",
            expected="room and a healthy disk",
            next_move="free space, look at the disk, then start again",
        ) from error
