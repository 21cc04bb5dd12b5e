"""A lake beside the lake: the same files by hard link, some of them exchanged, to ask what the numbers would be.

What lives here: making such a lake, exchanging inputs, computing a table of some months in it. What does not: which
inputs to exchange and what the answer means (restatement.py, repricing.py).
Files of a lake are replaced by renaming and never written in place, so a link keeps its bytes whatever is built later.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from pipelines.build.graph import build, build_order, cut_of, inputs_of
from pipelines.build.workbench import ALL, workbench
from pipelines.lake import Lake, Partition
from pipelines.publish.durable import link_or_copy
from pipelines.settings import Settings

GOAL = "int__feature_cost_daily"
_PREFIX = ".beside-"
_LEFT_OUT = ("parsed__",)


def ancestors(goal: str = GOAL) -> list[str]:
    """Derived tables that `goal` is made from, itself included, in the order of building."""
    order = build_order()
    wanted = {goal}
    for table in reversed(order):
        if table in wanted:
            wanted |= {name for name in inputs_of(table) if name in order}
    return [table for table in order if table in wanted]


def base_tables(goal: str = GOAL) -> list[str]:
    """Tables that `goal` is made from and that no model builds: core rows, roll-ups, reference tables."""
    derived = set(build_order())
    return sorted({name for table in ancestors(goal) for name in inputs_of(table)} - derived)


@contextmanager
def lake_beside(settings: Settings) -> Iterator[Settings]:
    """Settings of a home whose lake holds every table of this one; it is gone when the block ends.

    Nothing that is built there touches the real lake. The caller holds the real lake's lock.
    """
    sweep(settings)
    home = settings.lake / f"{_PREFIX}{uuid.uuid4().hex}"
    beside = replace(settings, home=home)
    try:
        _link_tables(settings.lake, beside.lake)
        with (
            closing(sqlite3.connect(settings.lake / "index.sqlite")) as source,
            closing(sqlite3.connect(beside.lake / "index.sqlite")) as target,
        ):
            source.backup(target)
        yield beside
    finally:
        shutil.rmtree(home, ignore_errors=True)


def sweep(settings: Settings) -> None:
    """Remove what a killed run left behind; the caller holds the lake's lock."""
    for leftover in settings.lake.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _link_tables(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for folder in sorted(entry for entry in source.iterdir() if entry.is_dir()):
        if folder.name.startswith((".", *_LEFT_OUT)):
            continue
        (target / folder.name).mkdir()
        for file in folder.glob("[!.]*.parquet"):
            link_or_copy(file, target / folder.name / file.name)


def place(lake: Lake, table: str, key: str, source: Path | None) -> None:
    """Let the partition be the file `source`; without one there is no such partition."""
    lake.remove(table, key)
    if source is None or not source.exists():
        return
    path = lake.path(table, key)
    path.parent.mkdir(exist_ok=True)
    link_or_copy(source, path)
    lake.register(Partition(table, key, pq.read_metadata(path).num_rows, "", ""))


def evaluate(beside: Settings, months: Iterable[str], goal: str = GOAL) -> pl.DataFrame:
    """The rows of `goal` in these months, computed anew from the base tables as they stand in that lake.

    A table that is not cut by month is computed from these months and, for all others, from what is there.
    """
    lake = Lake(beside.lake)
    wanted = sorted(set(months))
    built = ancestors(goal)
    read = {name for table in built for name in (table, *inputs_of(table))}
    with workbench(beside, read) as bench:
        build(bench, {table: [ALL] if cut_of(table) == ALL else wanted for table in built}, lambda _table, _key: "")
    frames = [frame for month in wanted if (frame := lake.read(goal, month)) is not None]
    return pl.concat(frames)
