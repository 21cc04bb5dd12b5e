"""Reading what was published: which snapshots there are, which was live when, a locked-down connection to one.

What lives here: CURRENT, as-of, the list, opening. What does not: writing (commit.py), what a query may say (query.py).
A reader resolves CURRENT once and stays on that snapshot; a publish in the meantime does not disturb it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from pipelines.errors import NotFoundError, PublishError, UsageError
from pipelines.publish.journal import Line, instant_text, orphan, read_journal
from pipelines.publish.layout import DATABASE, NO_SNAPSHOT, Layout
from pipelines.publish.manifest import Manifest, read_manifest, verify_files
from pipelines.settings import Settings
from pipelines.warehouse import SERVED_NAME, attach, load_parquet, lock_down, served_session


@dataclass(frozen=True)
class Snapshot:
    """One published snapshot. `published_at` is by the recorded clock; without `has_database` Parquet is read."""

    snapshot_id: str
    path: Path
    published_at: datetime
    is_current: bool
    has_database: bool

    @property
    def manifest(self) -> Manifest:
        """Its manifest, read now."""
        return read_manifest(self.path)


def current(settings: Settings) -> Snapshot:
    """The snapshot behind CURRENT. Raises NotFoundError before the first publish."""
    layout = Layout.of(settings)
    name = layout.current_id()
    if name is None:
        raise _nothing_yet()
    return _snapshot(layout, name, name)


def list_snapshots(settings: Settings) -> list[Snapshot]:
    """All snapshots that went live, oldest first; empty before the first publish."""
    layout = Layout.of(settings)
    name, never_live = layout.current_id(), orphan(layout)
    return [_snapshot(layout, found, name) for found in layout.snapshot_ids() if found != never_live]


def published_lines(settings: Settings) -> list[Line]:
    """The journal: every publish and rollback, oldest first."""
    return read_journal(Layout.of(settings), settings.now())


def snapshot_at(settings: Settings, instant: datetime) -> Snapshot:
    """The snapshot that was CURRENT at `instant`. Raises NotFoundError before the first, UsageError without a zone."""
    if instant.tzinfo is None:
        raise UsageError(
            f"{instant.isoformat()} has no zone",
            where="--as-of",
            expected="an instant such as 2026-11-01T02:00:00Z",
            next_move="add Z for UTC",
        )
    layout = Layout.of(settings)
    lines = read_journal(layout, settings.now())
    if not lines:
        raise _nothing_yet()
    past = [line for line in lines if line.published_at <= instant]
    if not past:
        raise NotFoundError(
            f"nothing was published by {instant_text(instant)}",
            where="marts/published.jsonl",
            expected=f"an instant from {instant_text(lines[0].published_at)} on",
            next_move="`tokenmart snapshots list` shows what was published when",
        )
    return _snapshot(layout, past[-1].snapshot_id, layout.current_id())


def find_snapshot(settings: Settings, wanted: str) -> str:
    """The full id for an id, its sequence number or any unambiguous start of it. Raises NotFoundError otherwise."""
    names = [snapshot.snapshot_id for snapshot in list_snapshots(settings)]
    if not names:
        raise _nothing_yet()
    if wanted in names:
        return wanted
    padded = wanted.zfill(6) if wanted.isdigit() else wanted
    found = [name for name in names if wanted and name.startswith(padded)]
    if len(found) != 1:
        raise NotFoundError(
            f"{wanted!r} names {'no snapshot' if not found else f'{len(found)} snapshots'}",
            where="marts/snapshots",
            expected="one id, or the number it begins with",
            next_move="`tokenmart snapshots list` shows them",
        )
    return found[0]


def open_snapshot(settings: Settings, as_of: datetime | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only, locked-down connection to CURRENT, or to what was CURRENT at `as_of`; close it after use.

    The marts are tables of the default catalogue `marts`. Each call is its own DuckDB instance. Where the database has
    expired, the tables are loaded into memory from the canonical Parquet, after comparing it with the manifest.
    Raises NotFoundError when there is no such snapshot, PublishError when it is damaged.
    """
    snapshot = current(settings) if as_of is None else snapshot_at(settings, as_of)
    connection = served_session(settings)
    try:
        if snapshot.has_database:
            attach(connection, snapshot.path / DATABASE, read_only=True)
        else:
            _load(connection, snapshot)
        lock_down(connection)
    except duckdb.Error as error:
        connection.close()
        raise PublishError(
            "the snapshot cannot be opened",
            where=f"marts/snapshots/{snapshot.snapshot_id}/{DATABASE}",
            expected="the database that was published",
            next_move="`tokenmart snapshots rollback ID` to another, or `tokenmart doctor`",
        ) from error
    except PublishError:
        connection.close()
        raise
    return connection


def _load(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    manifest = snapshot.manifest
    verify_files(snapshot.path, manifest)
    connection.execute(f"ATTACH ':memory:' AS {SERVED_NAME}")
    connection.execute(f"USE {SERVED_NAME}")
    for table in manifest.table_names:
        paths = [snapshot.path / file.relative for file in manifest.files_of(table)]
        load_parquet(connection, table, paths, snapshot_id=snapshot.snapshot_id)


def _snapshot(layout: Layout, name: str, current_id: str | None) -> Snapshot:
    directory = layout.snapshot(name)
    manifest = read_manifest(directory)
    return Snapshot(name, directory, manifest.published_at, name == current_id, (directory / DATABASE).exists())


def _nothing_yet() -> NotFoundError:
    return NotFoundError(
        "nothing has been published in this home yet",
        where="marts/CURRENT",
        expected="a published snapshot",
        next_move=NO_SNAPSHOT,
    )
