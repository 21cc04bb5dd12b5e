"""A lake while tables are built from it: its index is read once, its files are opened by one DuckDB session.

What lives here: which files and which inputs a partition has, running a model on them, what was built and waits to be
committed. What does not: which partitions are stale (graph.py), what a table computes (sql/, derived_tables.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty, polars_schema
from pipelines.errors import ContractError
from pipelines.lake import MOST_WAITING, Lake, Partition, Replacement, combined_digest
from pipelines.settings import Settings
from pipelines.sqlmodel import SqlModel
from pipelines.warehouse import answer, create_view, shared_session

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


@dataclass(frozen=True)
class Sight:
    """What one partition sees of its inputs: of each table the files that hold a row."""

    files: Mapping[str, list[Path]]

    @property
    def is_empty(self) -> bool:
        """True when there is no row in any of them."""
        return not any(self.files.values())


class Workbench:
    """What the lake holds of `tables`, with everything built so far. The caller holds the lake's lock.

    A partition whose file is gone is lost until it is put down again; to read it before raises ContractError.
    `query`, `frames` and `write` may be called by several threads at once; all others by the one that made the bench.
    """

    def __init__(self, settings: Settings, tables: Iterable[str], replacement: Replacement) -> None:
        self.settings = settings
        lake = Lake(settings.lake)
        self._held = lake.tables(tables)
        self._lost = lake.lost(self._held)
        self._replacement = replacement
        self._read: dict[str, dict[str, _Read]] = {}
        self._of_nothing: dict[str, pl.DataFrame] = {}
        self._mine = _Mine()

    def partitions(self, table: str) -> dict[str, Partition]:
        """All partitions of a table by key."""
        return self._held[table]

    def is_lost(self, table: str, key: str) -> bool:
        """Whether the index knows a partition whose file is gone."""
        return (table, key) in self._lost

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

    def sight(self, tables: Iterable[str], key: str) -> Sight:
        """What a partition `key` sees of these tables, as they stand now."""
        read = {table: self._inputs(table, key).partitions for table in tables}
        for lost in sorted({(table, part.key) for table, parts in read.items() for part in parts} & self._lost):
            raise gone(*lost)
        return Sight(
            {
                table: [self._replacement.path(table, part.key) for part in parts if part.rows]
                for table, parts in read.items()
            }
        )

    def frames(self, sight: Sight, columns: Mapping[str, Sequence[str]]) -> dict[str, pl.DataFrame]:
        """All rows that a partition sees, by table; of some tables only these columns."""
        found = {}
        for table, files in sight.files.items():
            asked = list(columns[table]) if table in columns else None
            found[table] = pl.read_parquet(files, columns=asked, glob=False) if files else empty(contract_of(table))
        return found

    def query(self, model: SqlModel, sight: Sight) -> pl.DataFrame:
        """The rows of a model over what a partition sees, in their order."""
        if sight.is_empty and model.name in self._of_nothing:
            return self._of_nothing[model.name]
        mine = self._mine
        if mine.connection is None:
            mine.connection = shared_session(self.settings)
        for table, files in sight.files.items():
            if mine.shown.get(table) != files:
                create_view(mine.connection, table, files, empty(contract_of(table)))
                mine.shown[table] = files
        rows = model.in_order(pl.DataFrame(answer(mine.connection, model.sql)))
        if sight.is_empty:
            self._of_nothing[model.name] = rows
        return rows

    def write(self, table: str, key: str, frame: pl.DataFrame, signature: str) -> Partition:
        """Check rows against the table's contract and write them, with its columns in that order.

        They count on the bench once they are put down.
        """
        contract = contract_of(table)
        names = list(polars_schema(contract))
        if sorted(names) == sorted(frame.columns):
            frame = frame.select(names)
        return self._replacement.write(table, key, frame, contract, signature)

    def put(self, partition: Partition) -> None:
        """Let a partition that was written be seen."""
        self._held[partition.table][partition.key] = partition
        self._lost.discard((partition.table, partition.key))
        self._read.pop(partition.table, None)

    def remove(self, table: str, key: str) -> None:
        """Let the partition be gone."""
        self._replacement.remove(table, key)
        del self._held[table][key]
        self._lost.discard((table, key))
        self._read.pop(table, None)

    def is_full(self) -> bool:
        """True when what was written should be committed before more is written."""
        return len(self._replacement) >= MOST_WAITING

    def commit(self) -> None:
        """Make everything count that was put down, while no thread writes; every sight is to be taken anew then."""
        self._replacement.commit()


class _Mine(threading.local):
    """What a thread keeps: its own DuckDB session, and which files each view in it stands for."""

    def __init__(self) -> None:
        self.connection: duckdb.DuckDBPyConnection | None = None
        self.shown: dict[str, list[Path]] = {}


@contextmanager
def workbench(settings: Settings, tables: Iterable[str]) -> Iterator[Workbench]:
    """A bench for these tables; what is built on it is committed when the block ends well."""
    with Lake(settings.lake).replacing() as replacement:
        yield Workbench(settings, tables, replacement)


def gone(table: str, key: str) -> ContractError:
    """The error for a partition whose file is gone."""
    afresh = f"compute the day from the raw files again: tokenmart backfill --from {key} --to {key}"
    return ContractError(
        "a file is gone from the lake",
        where=f"lake/{table}/{key}.parquet",
        expected="the file that the lake's index knows",
        next_move=afresh if table.startswith("core__") else "`tokenmart run` builds it again",
    )
