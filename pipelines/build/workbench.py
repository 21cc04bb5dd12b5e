"""A lake while tables are built from it: its index is read once, its files are opened by one DuckDB session.

What lives here: which files and which inputs a partition has, running a model on them, what was built and waits to be
committed. What does not: which partitions are stale (graph.py), what a table computes (sql/, derived_tables.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty, polars_schema
from pipelines.lake import MOST_WAITING, Lake, Partition, Replacement, combined_digest
from pipelines.settings import Settings
from pipelines.warehouse import create_view, shared_session

ALL = "all"


@dataclass(frozen=True)
class _Read:
    """The partitions of a table that are read together."""

    table: str
    partitions: list[Partition]

    @cached_property
    def digest(self) -> str:
        return combined_digest([f"{self.table}/{part.key}:{part.sha256}" for part in self.partitions])


_NOTHING = _Read("", [])


class Workbench:
    """What the lake holds of `tables`, with everything built so far. The caller holds the lake's lock."""

    def __init__(self, settings: Settings, tables: Iterable[str], replacement: Replacement, closing: ExitStack) -> None:
        self.settings = settings
        self._held = Lake(settings.lake).tables(tables)
        self._replacement = replacement
        self._closing = closing
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._shown: dict[str, list[Path]] = {}
        self._read: dict[str, dict[str, _Read]] = {}
        self._of_nothing: dict[str, pl.DataFrame] = {}

    def partitions(self, table: str) -> dict[str, Partition]:
        """All partitions of a table by key."""
        return self._held[table]

    def _inputs(self, table: str, key: str) -> _Read:
        """What a partition `key` reads of a table: its days for a month, all that there is for `all`."""
        if table not in self._read:
            months: dict[str, list[Partition]] = {}
            for partition in self._held[table].values():
                months.setdefault(partition.key[:7], []).append(partition)
            months[ALL] = list(self._held[table].values())
            self._read[table] = {month: _Read(table, partitions) for month, partitions in months.items()}
        return self._read[table].get(ALL if ALL in self._held[table] else key, _NOTHING)

    def digest(self, table: str, key: str) -> str:
        """A digest of what a partition `key` reads of a table."""
        return self._inputs(table, key).digest

    def is_empty(self, table: str, key: str) -> bool:
        """True when a partition `key` finds no row in a table."""
        return not any(part.rows for part in self._inputs(table, key).partitions)

    def files(self, table: str, key: str) -> list[Path]:
        """The files that a partition `key` reads of a table."""
        return [self._replacement.path(table, part.key) for part in self._inputs(table, key).partitions]

    def frame(self, table: str, key: str) -> pl.DataFrame:
        """Their rows."""
        files = self.files(table, key)
        return pl.concat([pl.read_parquet(path) for path in files]) if files else empty(contract_of(table))

    def query(self, sql: str, tables: Collection[str], key: str) -> pl.DataFrame:
        """The rows of a SELECT over these tables, as a partition `key` sees them."""
        finds_nothing = all(self.is_empty(table, key) for table in tables)
        if finds_nothing and sql in self._of_nothing:
            return self._of_nothing[sql]
        if self._connection is None:
            self._connection = self._closing.enter_context(shared_session(self.settings))
        for table in tables:
            files = self.files(table, key)
            if self._shown.get(table) != files:
                create_view(self._connection, table, files, empty(contract_of(table)))
                self._shown[table] = files
        rows: pl.DataFrame = self._connection.sql(sql).pl()
        if finds_nothing:
            self._of_nothing[sql] = rows
        return rows

    def write(self, table: str, key: str, frame: pl.DataFrame, signature: str) -> None:
        """Let the partition be these rows, checked against the table's contract, with its columns in that order."""
        contract = contract_of(table)
        names = list(polars_schema(contract))
        if sorted(names) == sorted(frame.columns):
            frame = frame.select(names)
        if len(self._replacement) >= MOST_WAITING:
            self._replacement.commit()
            self._shown.clear()
        self._held[table][key] = self._replacement.write(table, key, frame, contract, signature)
        self._read.pop(table, None)
        self._shown.pop(table, None)

    def remove(self, table: str, key: str) -> None:
        """Let the partition be gone."""
        self._replacement.remove(table, key)
        del self._held[table][key]
        self._read.pop(table, None)


@contextmanager
def workbench(settings: Settings, tables: Iterable[str]) -> Iterator[Workbench]:
    """A bench for these tables; what is built on it is committed when the block ends well."""
    with Lake(settings.lake).replacing() as replacement, ExitStack() as closing:
        yield Workbench(settings, tables, replacement, closing)
