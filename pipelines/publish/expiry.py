"""Retention: which old `marts.duckdb` files may go. Canonical Parquet and manifests stay for as-of, for ever.

What lives here: the rule and its execution. What does not: rebuilding an expired database (commit.py, readers.py).
"""

from __future__ import annotations

import itertools
from datetime import timedelta

from pipelines.publish.journal import read_journal
from pipelines.publish.layout import DATABASE, Layout
from pipelines.publish.manifest import read_manifest
from pipelines.settings import Settings

KEEP_SNAPSHOTS = 7
KEEP_FOR = timedelta(hours=48)


def expire(settings: Settings, layout: Layout) -> list[str]:
    """Remove databases that are neither CURRENT's, nor among the newest 7, nor live within 48 hours, nor a month close.

    Returns the ids that lost theirs. The caller holds the lock. Readers that have one open keep it until they close.
    """
    now = settings.now()
    lines = read_journal(layout, now)
    ended = {line.snapshot_id: after.published_at for line, after in itertools.pairwise(lines)}
    ids = layout.snapshot_ids()
    kept = {*ids[-KEEP_SNAPSHOTS:], layout.current_id()}
    expired = []
    for name in ids:
        database = layout.snapshot(name) / DATABASE
        if name in kept or not database.exists() or now - ended.get(name, now) < KEEP_FOR:
            continue
        if read_manifest(layout.snapshot(name)).closes:
            continue
        database.unlink()
        expired.append(name)
    return expired
