"""What a build was made from: the facts of a manifest, and whether anything changed since the last publish.

What lives here: digests over landed files, reference tables, SQL and code, dates per source, the marts to publish. What
does not: building (build/graph.py), committing (commit.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from pipelines.build.graph import build_order, lost_tables, partition_files
from pipelines.build.workbench import ALL
from pipelines.connectors import registry
from pipelines.intake.landing import Ledger, unseen
from pipelines.intake.staging import pending_files, pending_rebuilds
from pipelines.lake import Lake, Partition, combined_digest
from pipelines.publish.layout import Layout
from pipelines.settings import CODE_VERSION, SQL_ROOT, Settings
from pipelines.transforms.reference_tables import reference_digest

_MARK = "published_snapshot"


def mart_names() -> list[str]:
    """The marts, in the order in which they are built."""
    return [name for name in build_order() if name.startswith("mart__")]


def mart_files(settings: Settings) -> dict[str, list[Path]]:
    """Mart → its canonical files as the lake holds them now; an empty list for a mart that was never built."""
    lake = Lake(settings.lake)
    return {name: partition_files(lake, name, ALL) for name in mart_names()}


def facts_of_build(settings: Settings) -> dict[str, object]:
    """What goes on record with a snapshot: clock, code, digests of every input, and how far each source reaches."""
    lake = Lake(settings.lake)
    book = lake.partitions("ref__price_book").get(ALL)
    return {
        "clock": settings.now(),
        "code_version": CODE_VERSION,
        "landed_files_digest": _landed_digest(lake),
        "reference_digest": reference_digest(settings),
        "price_book_digest": book.sha256 if book else None,
        "sql_digest": _sql_digest(),
        "sources": _sources(lake),
    }


def remember_inputs(settings: Settings, snapshot_id: str) -> None:
    """Note that the inputs as they stand now are what `snapshot_id` shows, whether or not it had to be written."""
    lake = Lake(settings.lake)
    lake.register(Partition(_MARK, ALL, 0, "", f"{snapshot_id}|{_inputs_digest(settings, lake)}"))


def is_up_to_date(settings: Settings) -> bool:
    """True when a run had nothing to do: nothing landed or waits, no input moved since the last one, no file is gone.

    Costs one walk of landing/ and a few small files. The clock counts by its UTC day: with time a bill becomes `final`.
    """
    if not (settings.lake / "index.sqlite").exists():
        return False
    lake = Lake(settings.lake)
    noted = lake.partitions(_MARK).get(ALL)
    if noted is None or noted.signature != f"{Layout.of(settings).current_id()}|{_inputs_digest(settings, lake)}":
        return False
    files, _ = unseen(settings, Ledger(lake), registry.SOURCES)
    return not (files or pending_files(lake) or pending_rebuilds(lake) or lost_tables(lake))


def _inputs_digest(settings: Settings, lake: Lake) -> str:
    parts = [CODE_VERSION, str(settings.today()), _landed_digest(lake), reference_digest(settings), _sql_digest()]
    return combined_digest(parts)


def _landed_digest(lake: Lake) -> str:
    ledger = lake.partitions("core__landed_files").get(ALL)
    return ledger.sha256 if ledger else ""


def _sql_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(SQL_ROOT.rglob("*.sql")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SQL_ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _sources(lake: Lake) -> list[dict[str, object]]:
    status = lake.read("mart__data_status", ALL)
    if status is None:
        return []
    return status.select(pl.col("source", "account", "data_through", "complete_through")).to_dicts()
