"""One night in plain Python: every step of a run in its order, without Dagster, for tests that look at the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from pipelines.build import graph as build
from pipelines.build import rollup_days
from pipelines.build.workbench import ALL
from pipelines.core import merge as core
from pipelines.history.publication import publish_marts
from pipelines.intake import staging as intake
from pipelines.lake import Lake
from pipelines.publish.snapshot import Published
from pipelines.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def home_settings(home: Path, now: datetime = NOON) -> Settings:
    """Settings of a scratch home with a fixed clock; files count as settled at once."""
    return Settings(home=home, fixed_now=now, settle_seconds=0)


def land(home: Path, path: str, records: Iterable[Mapping[str, object]] | str | bytes) -> Path:
    """Write one landed file: JSON lines from mappings, or text or bytes as they are."""
    target = home / "landing" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(records, bytes):
        target.write_bytes(records)
    elif isinstance(records, str):
        target.write_text(records, encoding="utf-8")
    else:
        target.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return target


def refer(home: Path, table: str, text: str) -> None:
    """Write one reference table of the home."""
    target = home / "reference" / f"{table}.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def night(settings: Settings, rebuild: Iterable[str] = ()) -> Published:
    """Ingest, merge, roll up, price, match, build the marts, publish."""
    built(settings, rebuild)
    return publish_marts(settings, facts={"clock": settings.now().isoformat()})


def built(settings: Settings, rebuild: Iterable[str] = ()) -> None:
    """A night without its publish."""
    intake.ingest(settings)
    core.merge_core(settings, rebuild)
    build.refresh_reference(settings)
    rollup_days.roll_up_days(settings)
    for table in build.build_order():
        build.refresh_table(settings, table)


def mart_files(settings: Settings) -> dict[str, list[Path]]:
    """Every mart's partitions in the lake."""
    lake = Lake(settings.lake)
    marts = [table for table in build.build_order() if table.startswith("mart__")]
    return {mart: build.partition_files(lake, mart, ALL) for mart in marts}


@contextmanager
def published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The current snapshot, as a BI tool opens it."""
    connection = duckdb.connect(str(settings.marts / "CURRENT" / "marts.duckdb"), read_only=True)
    try:
        yield connection
    finally:
        connection.close()
