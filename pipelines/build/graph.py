"""Building what changed: every table between the core days and the marts, one partition at a time.

What lives here: the graph of tables, which partitions are stale, running a SQL model over one month. What does not:
what a table computes (sql/, derived_tables.py), Dagster (assets/).
A partition remembers the code and the input partitions that it was built from; it is built again only when one of them
changed. So a night costs what changed, and re-pricing history never reads a log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import polars as pl

from pipelines.build.derived_tables import PYTHON_TABLES, REFERENCE_NAMES, reference_frames
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty, polars_schema
from pipelines.lake import Lake, combined_digest
from pipelines.settings import CODE_VERSION, Settings
from pipelines.sqlmodel import SqlModel, load_models
from pipelines.transforms.deployment_hours import deployed_months
from pipelines.transforms.reference_tables import reference_digest
from pipelines.warehouse import create_view, session

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
ALL = "all"
CLOSED_MONTHS = "core__closed_months"
CLOSED_COSTS = "core__closed_costs"
"""What history/closing.py wrote: one partition per closed month, never built and never replaced."""


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
    return {name: model for name, model in load_models().items() if name not in PYTHON_TABLES}


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


def build_order() -> list[str]:
    """All derived tables, each after what it reads."""
    names = {*PYTHON_TABLES, *sql_models()}
    graph = {name: {table for table in inputs_of(name) if table in names} for name in sorted(names)}
    return list(TopologicalSorter(graph).static_order())


def refresh_reference(settings: Settings) -> BuildReport:
    """Replace the lake's reference tables when a CSV of data/reference or <home>/reference changed; else no work."""
    lake = Lake(settings.lake)
    report = BuildReport("ref")
    signature = combined_digest([CODE_VERSION, reference_digest(settings)])
    with lake.writing():
        held = [lake.partitions(name).get(ALL) for name in REFERENCE_NAMES]
        if all(partition is not None and partition.signature == signature for partition in held):
            report.unchanged = len(held)
            return report
        for name, frame in sorted(reference_frames(settings).items()):
            _write(lake, name, ALL, frame, signature, report)
    return report


def refresh_table(settings: Settings, table: str, progress: Progress | None = None) -> BuildReport:
    """Build the stale partitions of one derived table and forget those whose inputs are gone."""
    lake = Lake(settings.lake)
    report = BuildReport(table)
    with lake.writing():
        digests = {name: _digests(lake, name) for name in inputs_of(table)}
        keys = [ALL] if cut_of(table) == ALL else months(lake, settings.today())
        held = lake.partitions(table)
        code = code_digest(table)
        for gone in sorted(set(held) - set(keys)):
            lake.remove(table, gone)
        for number, key in enumerate(keys):
            signature = combined_digest([code, *_input_digests(digests, key), *_clock_digest(settings, table, key)])
            if key in held and held[key].signature == signature:
                report.unchanged += 1
                continue
            if progress:
                progress(f"building {table} {key}", number, len(keys))
            frame = build_frame(settings, lake, table, key)
            _write(lake, table, key, frame, signature, report)
    return report


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


def _digests(lake: Lake, table: str) -> dict[str, str]:
    return {key: f"{table}/{key}:{partition.sha256}" for key, partition in lake.partitions(table).items()}


def _input_digests(digests: Mapping[str, Mapping[str, str]], key: str) -> list[str]:
    return [
        digest for table in sorted(digests) for name, digest in sorted(digests[table].items()) if _belongs(name, key)
    ]


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


def build_frame(settings: Settings, lake: Lake, table: str, key: str) -> pl.DataFrame:
    """The rows of one partition of a derived table, from its inputs as they stand in `lake`; writes nothing."""
    inputs = {name: partition_files(lake, name, key) for name in inputs_of(table)}
    if table in PYTHON_TABLES:
        frames = {
            name: pl.concat([pl.read_parquet(path) for path in paths]) if paths else empty(contract_of(name))
            for name, paths in inputs.items()
        }
        return PYTHON_TABLES[table].build(settings, key, frames)
    with session(settings) as connection:
        for name, paths in inputs.items():
            create_view(connection, name, paths, empty(contract_of(name)))
        rows: pl.DataFrame = connection.sql(sql_models()[table].sql).pl()
        return rows


def _write(lake: Lake, table: str, key: str, frame: pl.DataFrame, signature: str, report: BuildReport) -> None:
    lake.write(table, key, frame, contract_of(table), signature)
    report.built.append(key)
    report.rows += len(frame)
