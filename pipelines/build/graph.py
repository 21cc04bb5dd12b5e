"""Building what changed: every table between the core days and the marts, partition by partition.

What lives here: the graph of tables, which partitions are stale. What does not: what a table computes (sql/,
derived_tables.py), running a model and committing what was built (workbench.py), doing several at once
(side_by_side.py), Dagster (assets/).
A partition remembers the code and the input partitions that it was built from; it is built again only when one of them
changed. So a night costs what changed, and re-pricing history never reads a log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import polars as pl

from pipelines.build.derived_tables import PYTHON_TABLES, REFERENCE_NAMES, reference_frames
from pipelines.build.side_by_side import Work, do
from pipelines.build.workbench import ALL, Sight, Workbench, workbench
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty, polars_schema
from pipelines.core.closed_journal import CLOSED_MONTHS, restore_closes
from pipelines.lake import Lake, Partition, combined_digest
from pipelines.settings import CODE_VERSION, Settings
from pipelines.sqlmodel import SqlModel, shipped_models
from pipelines.transforms.deployment_hours import deployed_months
from pipelines.transforms.reference_tables import reference_digest

Progress = Callable[[str, int, int], None]
DAY_TABLES = frozenset(
    {
        "core__usage",
        "core__meters",
        "core__provider_usage",
        "core__billing",
        "core__fetched_buckets",
        "core__infrastructure",
        "int__usage_rollup",
        "int__meter_rollup",
    }
)


@dataclass
class BuildReport:
    """What one refresh of a table did: partitions built, partitions found unchanged, rows and sums of the built
    ones."""

    table: str
    built: list[str] = field(default_factory=list)
    unchanged: int = 0
    rows: int = 0


@cache
def sql_models() -> dict[str, SqlModel]:
    """SQL models that this module builds by name; those that Python feeds by itself are left out."""
    return {name: model for name, model in shipped_models().items() if name not in PYTHON_TABLES}


def inputs_of(table: str) -> tuple[str, ...]:
    """Tables that a derived table reads."""
    return PYTHON_TABLES[table].inputs if table in PYTHON_TABLES else sql_models()[table].inputs


def cut_of(table: str) -> str:
    """How a table is partitioned: `day`, `month` or `all`."""
    if table in DAY_TABLES:
        return "day"
    if table in PYTHON_TABLES:
        return PYTHON_TABLES[table].cut
    return sql_models()[table].partition if table in sql_models() else ALL


@cache
def build_order() -> tuple[str, ...]:
    """All derived tables, each after what it reads."""
    names = {*PYTHON_TABLES, *sql_models()}
    graph = {name: {table for table in inputs_of(name) if table in names} for name in sorted(names)}
    return tuple(TopologicalSorter(graph).static_order())


def refresh_reference(settings: Settings) -> BuildReport:
    """Replace the lake's reference tables when a CSV of data/reference or <home>/reference changed; else no work.

    Closed months are restored from their journal, which is input like the user's tables.
    """
    lake = Lake(settings.lake)
    report = BuildReport("ref")
    signature = combined_digest([CODE_VERSION, reference_digest(settings)])
    with lake.writing():
        restore_closes(settings)
        known = lake.tables(REFERENCE_NAMES)
        held = [partitions.get(ALL) for partitions in known.values()]
        if not lake.lost(known) and all(
            partition is not None and partition.signature == signature for partition in held
        ):
            report.unchanged = len(held)
            return report
        with workbench(settings, REFERENCE_NAMES) as bench:
            for name, frame in sorted(reference_frames(settings).items()):
                bench.put(bench.write(name, ALL, frame, signature))
                report.built.append(ALL)
                report.rows += len(frame)
    return report


def refresh_table(settings: Settings, table: str, progress: Progress | None = None) -> BuildReport:
    """As refresh_tables, for one table."""
    return refresh_tables(settings, [table], progress)[table]


def refresh_tables(
    settings: Settings, tables: Iterable[str] | None = None, progress: Progress | None = None
) -> dict[str, BuildReport]:
    """Build the stale partitions of derived tables (default: all) and forget those whose inputs are gone.

    All that was built counts at once when this ends. Reports stand in the order of building.
    """
    chosen = set(build_order() if tables is None else tables)
    order = [table for table in build_order() if table in chosen]
    read = {name for table in order for name in (table, *inputs_of(table))}
    lake = Lake(settings.lake)
    reports = {table: BuildReport(table) for table in order}
    with lake.writing(), workbench(settings, read) as bench:
        known = months(lake, settings.today())
        keys = {table: [ALL] if cut_of(table) == ALL else known for table in order}
        for table in order:
            for gone in sorted(set(bench.partitions(table)) - set(keys[table])):
                bench.remove(table, gone)

        def signature_of(table: str, key: str) -> str | None:
            signature = _signature(bench, table, key)
            held = bench.partitions(table).get(key)
            if held is None or held.signature != signature or bench.is_lost(table, key):
                return signature
            reports[table].unchanged += 1
            return None

        for partition in build(bench, keys, signature_of, progress):
            report = reports[partition.table]
            report.built.append(partition.key)
            report.rows += partition.rows
    return reports


def build(
    bench: Workbench,
    keys: Mapping[str, Sequence[str]],
    signature_of: Callable[[str, str], str | None],
    progress: Progress | None = None,
) -> list[Partition]:
    """Build partitions (`keys` of each table) in the order of what they read, several at once; gives those built.

    signature_of: asked once the inputs of a partition stand; None leaves the partition as it is.
    """
    known = [(table, key) for table in sorted(keys) for key in keys[table]]
    built: list[Partition] = []
    begun = 0

    def start(task: tuple[str, str]) -> Callable[[], Partition] | None:
        nonlocal begun
        begun += 1
        table, key = task
        signature = signature_of(table, key)
        if signature is None:
            return None
        if progress:
            progress(f"building {table} {key}", begun - 1, len(known))
        sight = bench.sight(inputs_of(table), key)
        return lambda: bench.write(table, key, rows_of(bench, table, key, sight), signature)

    def finish(_task: tuple[str, str], partition: Partition) -> None:
        bench.put(partition)
        built.append(partition)

    def pause(settle: Callable[[], None]) -> None:
        if bench.is_full():
            settle()
            bench.commit()

    work = Work(start, finish, pause, urgency=lambda task: _height(task[0]))
    do({task: _waits_for(task, keys) for task in known}, work, bench.settings.threads)
    return sorted(built, key=lambda partition: (partition.table, partition.key))


@cache
def _height(table: str) -> int:
    """How many tables stand one on the other above this one: what most waits for is built first."""
    return max((1 + _height(name) for name in build_order() if table in inputs_of(name)), default=0)


def _waits_for(task: tuple[str, str], keys: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The partitions among `keys` that a partition reads."""
    table, key = task
    inputs = [name for name in inputs_of(table) if name in keys]
    return [(name, mine) for name in inputs for mine in keys[name] if ALL in (key, mine) or mine == key]


def lost_tables(lake: Lake) -> set[tuple[str, str]]:
    """(table, key) of everything between the core days and the marts whose file is gone; a run builds it again."""
    rolled_up = [name for name in DAY_TABLES if name.startswith("int__")]
    return lake.lost(lake.tables([*REFERENCE_NAMES, *rolled_up, *build_order()]))


def rows_from(table: str) -> tuple[str, ...]:
    """Inputs without any row in which a derived table has none; empty where nothing is promised."""
    return PYTHON_TABLES[table].rows_from if table in PYTHON_TABLES else sql_models()[table].rows_from


def rows_of(bench: Workbench, table: str, key: str, sight: Sight) -> pl.DataFrame:
    """The rows of one partition of a derived table from what it sees; writes nothing."""
    sources = rows_from(table)
    if sources and not any(sight.files[name] for name in sources):
        return empty(contract_of(table))
    if table in PYTHON_TABLES:
        made = PYTHON_TABLES[table]
        return made.build(bench.settings, key, bench.frames(sight, made.columns))
    return bench.query(sql_models()[table], sight)


def _signature(bench: Workbench, table: str, key: str) -> str:
    """What a partition is built from: its code and its inputs."""
    inputs = [bench.digest(name, key) for name in sorted(inputs_of(table))]
    return combined_digest([code_digest(table), *inputs, *_clock_digest(bench.settings, table, key)])


def months(lake: Lake, today: date) -> list[str]:
    """Months (YYYY-MM) on which anything is known, in order: those with files, those in which a deployment ran before
    `today` with or without any, and those that take corrections of closed months."""
    known = lake.months(DAY_TABLES)
    deployments = lake.read("ref__deployments", ALL)
    if deployments is not None:
        known |= deployed_months(deployments, today)
    closed = set(lake.partitions(CLOSED_MONTHS))
    return sorted(known | closed | {posting_month(month, closed) for month in closed})


def posting_month(month: str, closed: Set[str]) -> str:
    """The first month after `month` that is not closed: the one into which its corrections go."""
    following = month
    while following == month or following in closed:
        year, number = map(int, following.split("-"))
        following = f"{year + number // 12}-{number % 12 + 1:02d}"
    return following


def partition_files(lake: Lake, table: str, key: str) -> list[Path]:
    """The files of a table that a partition `key` reads: its days for a month, all of them for `all`."""
    return [lake.path(table, name) for name in sorted(lake.partitions(table)) if _belongs(name, key)]


def _belongs(name: str, key: str) -> bool:
    return ALL in (key, name) or name[:7] == key


def _clock_digest(settings: Settings, table: str, key: str) -> list[str]:
    """ref__clock has no input but the clock itself."""
    if table != "ref__clock":
        return []
    return [str(PYTHON_TABLES[table].build(settings, key, {})["today"][0])]


@cache
def code_digest(table: str) -> str:
    """A digest of what computes a derived table: the code's version, its SQL, its columns."""
    text = sql_models()[table].path.read_text() if table in sql_models() else table
    columns = str(polars_schema(contract_of(table)))
    return hashlib.sha256(f"{CODE_VERSION}\0{text}\0{columns}".encode()).hexdigest()
