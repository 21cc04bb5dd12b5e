"""The front door of publishing: publish, roll back, and find what was published.

What lives here: the functions that the rest of the house calls. What does not: how they work (commit.py, readers.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.publish.commit import Published, Request, publish_in_steps, roll_back
from pipelines.publish.manifest import CanonicalFile
from pipelines.publish.readers import (
    Snapshot,
    current,
    find_snapshot,
    list_snapshots,
    open_snapshot,
    published_lines,
    snapshot_at,
)
from pipelines.publish.staging import Checks
from pipelines.settings import Settings

__all__ = [
    "Published",
    "Snapshot",
    "current",
    "list_snapshots",
    "open_snapshot",
    "publish",
    "published_lines",
    "rollback",
    "snapshot_at",
]

LOCK_PATIENCE_SECONDS = 60.0


def publish(
    settings: Settings,
    tables: Mapping[str, Sequence[Path]],
    facts: Mapping[str, object],
    checks: Checks | None = None,
    *,
    built_on: str | None = None,
    journals: Sequence[str] = (),
    surveyed: Sequence[CanonicalFile] = (),
    patience_seconds: float = LOCK_PATIENCE_SECONDS,
) -> Published:
    """Publish the marts as one new snapshot that goes live at once, or change nothing.

    `tables` maps each mart to its canonical Parquet files in load order (`YYYY-MM.parquet` or `all.parquet`); every
    mart needs one, without rows if need be. `facts` go into the manifest: what the numbers were made from;
    `closed_periods` in them makes a snapshot a month close, which never expires. `checks` gets the new marts on a
    locked-down connection and returns the sentences that are not true. `built_on` is the id that was CURRENT when the
    build began, to refuse publishing over somebody else's. `journals` names tables that tell of publishes themselves:
    they stand outside the digest, so that they alone never make a new snapshot. `surveyed` are files that the caller
    surveyed while nobody could write them, as now.

    Parquet equal to CURRENT's is not published again (`is_new` is False and nothing is written). Raises PublishError,
    CheckFailedError, BusyError. A kill at any step is made up for by the next writer.
    """
    request = Request(tables, facts, checks, built_on, tuple(journals), tuple(surveyed))
    return publish_in_steps(settings, request, patience_seconds=patience_seconds)


def rollback(settings: Settings, snapshot_id: str, *, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> Published:
    """Make an older snapshot live again (its id, or the number it begins with); the journal records it.

    The next publish takes the next number, whatever CURRENT is. Raises NotFoundError, PublishError, BusyError.
    """
    return roll_back(settings, find_snapshot(settings, snapshot_id), patience_seconds=patience_seconds)
