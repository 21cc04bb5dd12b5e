"""A lake while tables are built from it: its index is read once, its files are opened by one DuckDB session.

What lives here: which files and which inputs a partition has, running a model on them, what was built and waits to be
committed. What does not: which partitions are stale (graph.py), what a table computes (sql/, derived_tables.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.lake import MOST_WAITING, Lake, Partition, Replacement, combined_digest
from pipelines.settings import Settings
from pipelines.warehouse import create_view, session

ALL = "all"


class Workbench:
    """What the lake holds of `tables`, with everything built so far. The caller holds the lake's lock."""

    def __init__(self, settings: Settings, tables: Iterable[str], replacement: Replacement, closing: ExitStack) -> None:
        self.settings = settings
        self._held = Lake(settings.lake).tables(tables)
        self._replacement = replacement
        self._closing = closing
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._shown: dict[str, list[Path]] = {}
        self._by_month: dict[str, dict[str, list[Partition]]] = {}

    def partitions(self, table: str) -> dict[str, Partition]:
        """All partitions of a table by key."""
        return self._held[table]

    def inputs(self, table: str, key: str) -> list[Partition]:
        """The partitions of a table that a partition `key` reads: its days for a month, all of them for `all`."""
        if key == ALL:
            return list(self._held[table].values())
        if table not in self._by_month:
            months: dict[str, list[Partition]] = {}
            for partition in self._held[table].values():
                months.setdefault(partition.key[:7], []).append(partition)
            self._by_month[table] = months
        return self._by_month[table].get(ALL, []) or self._by_month[table].get(key[:7], [])

    def digest(self, table: str, key: str) -> str:
        """A digest of what a partition `key` reads of a table."""
        return combined_digest([f"{table}/{part.key}:{part.sha256}" for part in self.inputs(table, key)])

    def files(self, table: str, key: str) -> list[Path]:
        """The files of these partitions."""
        return [self._replacement.path(table, part.key) for part in self.inputs(table, key)]

    def frame(self, table: str, key: str) -> pl.DataFrame:
        """Their rows."""
        files = self.files(table, key)
        return pl.concat([pl.read_parquet(path) for path in files]) if files else empty(contract_of(table))

    def query(self, sql: str, tables: Iterable[str], key: str) -> pl.DataFrame:
        """The rows of a SELECT over these tables, as a partition `key` sees them."""
        if self._connection is None:
            self._connection = self._closing.enter_context(session(self.settings))
        for table in tables:
            files = self.files(table, key)
            if self._shown.get(table) != files:
                create_view(self._connection, table, files, empty(contract_of(table)))
                self._shown[table] = files
        rows: pl.DataFrame = self._connection.sql(sql).pl()
        return rows

    def write(self, table: str, key: str, frame: pl.DataFrame, signature: str) -> None:
        """Let the partition be these rows, checked against the table's contract."""
        if len(self._replacement) >= MOST_WAITING:
            self._replacement.commit()
            self._shown.clear()
        self._held[table][key] = self._replacement.write(table, key, frame, contract_of(table), signature)
        self._by_month.pop(table, None)
        self._shown.pop(table, None)

    def remove(self, table: str, key: str) -> None:
        """Let the partition be gone."""
        self._replacement.remove(table, key)
        del self._held[table][key]
        self._by_month.pop(table, None)


@contextmanager
def workbench(settings: Settings, tables: Iterable[str]) -> Iterator[Workbench]:
    """A bench for these tables; what is built on it is committed when the block ends well."""
    with Lake(settings.lake).replacing() as replacement, ExitStack() as closing:
        yield Workbench(settings, tables, replacement, closing)
