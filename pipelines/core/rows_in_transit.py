"""Rows that change tables while a day is written: a third copy, so that a kill between two files loses none of them.

What lives here: keeping, finding and forgetting that copy. What does not: who wins (transforms/deduplication.py), when
a day is written (days.py).
A day's accepted and lost rows stand in two files, which cannot be renamed in one step. A row that goes from one to the
other would, for a moment, stand in neither; its own file may be long gone from landing/.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipelines.lake import Lake, write_parquet
from pipelines.transforms.canonical_rows import ROWS_SCHEMA


def keep_in_transit(lake: Lake, day: str, lost_before: pl.DataFrame | None, lost_now: pl.DataFrame) -> None:
    """Before a day's files are replaced: every row that is lost, or was. Nothing is written where there
    is none."""
    frames = [frame for frame in (in_transit(lake, day), lost_before, lost_now) if frame is not None]
    rows = pl.concat([frame.select(list(ROWS_SCHEMA)) for frame in frames])
    if len(rows):
        write_parquet(rows.unique(["landed_file", "record_number", "part"], maintain_order=True), _path(lake, day))


def in_transit(lake: Lake, day: str) -> pl.DataFrame | None:
    """What a killed write of this day left: these rows count as told here, whatever its files say of them."""
    path = _path(lake, day)
    return pl.read_parquet(path) if path.exists() else None


def forget_transit(lake: Lake, day: str) -> None:
    """After all files of the day stand."""
    _path(lake, day).unlink(missing_ok=True)


def _path(lake: Lake, day: str) -> Path:
    return lake.root / ".in_transit" / f"{day}.parquet"
