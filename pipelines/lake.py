"""The lake: Parquet partitions that are replaced as a whole, and the index that says what they were built from.

What lives here: validate → write aside → fsync → rename, reading a partition, the writer's lock. What does not: the
index's transactions (lake_index.py), what a row means (contracts/), which rows to write (core/, build/, sql/).
A partition is one file with a fixed name, `lake/<table>/<key>.parquet`; key is a UTC day, a month, or `all`. It is
replaced also when the new data is empty. Integer and decimal columns only; writing the same frame gives the same bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandera.polars as pa
import polars as pl

from pipelines import lake_index
from pipelines.contracts.fields import breaches, polars_schema
from pipelines.errors import BusyError, ContractError

ROW_GROUP_ROWS = 512 * 1024
LOCK_PATIENCE_SECONDS = 600.0
MOST_WAITING = 256
"""So many partitions are committed together at most: what a kill can cost is bounded, and so is the room on disk."""
_SYNCS_AT_ONCE = 8
_LARGE_FILE_BYTES = 1024 * 1024
_ASIDE = ".aside"
"""Where files wait for their commit. Who holds the lock finds there what a killed writer left, and clears it."""


class Partition(NamedTuple):
    """One partition as the index knows it. `signature` names the inputs it was built from; `sha256` is of its bytes."""

    table: str
    key: str
    rows: int
    sha256: str
    signature: str


class Lake:
    """The Parquet lake below one folder. Cheap to build; writers hold `writing()` around a piece of work."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: str, key: str) -> Path:
        """Where the partition stands, whether it exists or not."""
        return self.root / table / f"{key}.parquet"

    def write(
        self, table: str, key: str, frame: pl.DataFrame, contract: type[pa.DataFrameModel] | None, signature: str = ""
    ) -> Partition:
        """Replace one partition by `frame`, after checking every row against `contract` (None: checked by the caller).

        Raises ContractError, naming table, key, column and rule, and leaves the old partition untouched.
        """
        if contract is not None:
            enforce(contract, frame, f"{table}/{key}")
        path = self.path(table, key)
        write_parquet(frame, path, has_statistics=_has_statistics(table))
        partition = Partition(table, key, len(frame), file_sha256(path), signature)
        self.register(partition)
        return partition

    def register(self, *partitions: Partition) -> None:
        """Record partitions whose files stand already, all in one step."""
        with self.index() as index:
            index.executemany(
                "INSERT OR REPLACE INTO partitions VALUES (?, ?, ?, ?, ?)",
                [(part.table, part.key, part.rows, part.sha256, part.signature) for part in partitions],
            )

    def read(self, table: str, key: str, columns: list[str] | None = None) -> pl.DataFrame | None:
        """The partition, or None where there is none."""
        path = self.path(table, key)
        return pl.read_parquet(path, columns=columns) if path.exists() else None

    def remove(self, table: str, key: str) -> None:
        """Forget a partition and its file; nothing happens where there is none."""
        self.path(table, key).unlink(missing_ok=True)
        with self.index() as index:
            index.execute("DELETE FROM partitions WHERE table_name = ? AND key = ?", (table, key))

    def partitions(self, table: str) -> dict[str, Partition]:
        """All partitions of a table by key, in key order."""
        return self.tables([table])[table]

    def tables(self, names: Iterable[str]) -> dict[str, dict[str, Partition]]:
        """The partitions of several tables as one moment holds them: by table, then by key, in key order."""
        held: dict[str, dict[str, Partition]] = {name: {} for name in sorted(set(names))}
        marks = ", ".join("?" * len(held))
        with self.index() as index:
            rows = index.execute(
                "SELECT table_name, key, rows, sha256, signature FROM partitions"
                f" WHERE table_name IN ({marks}) ORDER BY table_name, key",
                list(held),
            ).fetchall()
        for row in rows:
            held[row[0]][row[1]] = Partition(*row)
        return held

    def lost(self, tables: Mapping[str, Mapping[str, Partition]]) -> set[tuple[str, str]]:
        """(table, key) of those of these partitions whose file is gone."""
        lost = set()
        for table, partitions in tables.items():
            folder = self.root / table
            stand = {entry.name for entry in os.scandir(folder)} if partitions and folder.is_dir() else set()
            lost |= {(table, key) for key in partitions if f"{key}.parquet" not in stand}
        return lost

    def months(self, tables: Iterable[str]) -> set[str]:
        """The months (YYYY-MM) in which any of the day tables has a partition."""
        wanted = sorted(tables)
        marks = ", ".join("?" * len(wanted))
        with self.index() as index:
            rows = index.execute(
                f"SELECT DISTINCT substr(key, 1, 7) FROM partitions WHERE table_name IN ({marks})", wanted
            ).fetchall()
        return {month for (month,) in rows}

    @contextmanager
    def replacing(self) -> Iterator[Replacement]:
        """Replace many partitions; those that wait when the block ends well are committed, else they are dropped."""
        replacement = Replacement(self)
        try:
            yield replacement
            replacement.commit()
        finally:
            replacement.drop()

    def index(self) -> AbstractContextManager[sqlite3.Connection]:
        """The index database, inside one transaction that commits when the block ends well (lake_index.py)."""
        return lake_index.transaction(self.root)

    def one_commit(self) -> AbstractContextManager[None]:
        """What the blocks inside this one tell the index is committed at its end, as far as it was told whole. The
        caller holds `writing()`."""
        return lake_index.one_commit(self.root)

    @contextmanager
    def writing(self, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> Iterator[None]:
        """Exclude every other writer of this lake. The kernel frees the lock when a process dies.

        Raises BusyError when another writer still holds it after `patience_seconds`.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "w") as handle:
            deadline = time.monotonic() + patience_seconds
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise BusyError(
                            "another run is writing this home's lake",
                            where="lake/.lock",
                            expected="one writer at a time",
                            next_move="wait for it to end and start again",
                        ) from None
                    time.sleep(0.2)
            shutil.rmtree(self.root / _ASIDE, ignore_errors=True)
            with lake_index.kept_open(self.root):
                yield


class Replacement:
    """Partitions that are replaced together: their files wait aside until `commit` makes all of them count.

    Committing syncs every file, has the index forget what stands there, renames, and has the index know the new ones.
    A kill before leaves the old partitions; a kill in between leaves partitions whose signature fits nothing, so that
    the next build makes them again and no file is ever taken for what it is not.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._waiting: dict[tuple[str, str], tuple[Partition, Path]] = {}
        self._gone: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def path(self, table: str, key: str) -> Path:
        """Where the partition can be read: the file that waits, else the one of the lake."""
        waiting = self._waiting.get((table, key))
        return waiting[1] if waiting else self._lake.path(table, key)

    def write(
        self,
        table: str,
        key: str,
        rows: pl.DataFrame | Callable[[Path], int],
        contract: type[pa.DataFrameModel] | None = None,
        signature: str = "",
    ) -> Partition:
        """Check every row and write the file that is to stand for this partition.

        rows: a frame, or what writes a Parquet file at a path and returns its rows (then checked by the caller).
        Several threads may write at once, while none commits. Raises as Lake.write does.
        """
        if contract is not None and isinstance(rows, pl.DataFrame):
            enforce(contract, rows, f"{table}/{key}")
        self._lake.path(table, key).parent.mkdir(parents=True, exist_ok=True)
        aside = self._lake.root / _ASIDE / f"{table}.{key}.parquet"
        aside.parent.mkdir(exist_ok=True)
        self._waiting[table, key] = (Partition(table, key, 0, "", signature), aside)
        count = (
            _write_frame(rows, aside, has_statistics=_has_statistics(table))
            if isinstance(rows, pl.DataFrame)
            else rows(aside)
        )
        if aside.stat().st_size >= _LARGE_FILE_BYTES:
            fsync(aside)  # now, while others compute, rather than all of them when everyone waits for the commit
        partition = Partition(table, key, count, file_sha256(aside), signature)
        self._waiting[table, key] = (partition, aside)
        return partition

    def remove(self, table: str, key: str) -> None:
        """Have the partition be gone after the commit."""
        self._gone.add((table, key))

    def commit(self) -> None:
        """Make everything count that waits."""
        if not self._waiting and not self._gone:
            return
        fsync_all(aside for _, aside in self._waiting.values())
        with self._lake.index() as index:
            index.executemany(
                "UPDATE partitions SET signature = '' WHERE table_name = ? AND key = ?", list(self._waiting)
            )
            index.executemany("DELETE FROM partitions WHERE table_name = ? AND key = ?", sorted(self._gone))
        for (table, key), (_, aside) in self._waiting.items():
            os.replace(aside, self._lake.path(table, key))
        for table, key in self._gone:
            self._lake.path(table, key).unlink(missing_ok=True)
        fsync_all(self._lake.root / table for table in {table for table, _ in (*self._waiting, *self._gone)})
        self._lake.register(*(partition for partition, _ in self._waiting.values()))
        self._waiting, self._gone = {}, set()

    def drop(self) -> None:
        """Forget everything that waits."""
        for _, aside in self._waiting.values():
            aside.unlink(missing_ok=True)
        self._waiting, self._gone = {}, set()


def enforce(contract: type[pa.DataFrameModel], frame: pl.DataFrame, where: str) -> None:
    """Raise ContractError unless `frame` has exactly the contract's columns and every row keeps its rules."""
    expected = polars_schema(contract)
    if dict(frame.schema) != expected:
        wrong = sorted(name for name in {*expected, *frame.columns} if frame.schema.get(name) != expected.get(name))
        raise ContractError(
            f"columns {wrong} do not fit {contract.__name__}",
            where=where,
            expected=", ".join(f"{name}: {expected.get(name)}" for name in wrong),
            next_move="this is a fault of the code that built the table; nothing was written",
        )
    found = breaches(contract, frame)
    if len(found):
        first = found.row(0, named=True)
        raise ContractError(
            f"{len(found)} rows break {contract.__name__}; the first is row {first['row']}: "
            f"{first['column']} {first['rule']}",
            where=where,
            expected=f"{first['column']}: {first['rule']}",
            next_move="nothing was written; `tokenmart doctor` shows the table's last good state",
        )


def write_parquet(frame: pl.DataFrame, path: Path, *, has_statistics: bool = True) -> None:
    """Write `frame` beside `path`, fsync it, and rename it onto `path`: readers see the old file or the new one."""

    replace_durably(path, lambda aside: _write_frame(frame, aside, has_statistics=has_statistics))


def _has_statistics(table: str) -> bool:
    """Whether partitions are written with column statistics: for readers of marts, who may ask for some rows, and where
    the bytes were signed with them (closed costs). Other tables are read whole."""
    return table.startswith("mart__") or table == "core__closed_costs"


def _write_frame(frame: pl.DataFrame, path: Path, *, has_statistics: bool) -> int:
    if len(frame):
        frame.write_parquet(
            path,
            compression="zstd",
            compression_level=1,
            statistics=has_statistics,
            row_group_size=ROW_GROUP_ROWS,
        )
    else:
        path.write_bytes(_without_rows(tuple(frame.schema.items())))
    return len(frame)


@cache
def _without_rows(schema: tuple[tuple[str, pl.DataType], ...]) -> bytes:
    """A file of these columns without rows: most small tables of most days are such, and all alike."""
    stream = io.BytesIO()
    pl.DataFrame(schema=dict(schema)).write_parquet(stream, compression="zstd", compression_level=1)
    return stream.getvalue()


def replace_durably(path: Path, write: Callable[[Path], int]) -> int:
    """Have `write` make a file beside `path`, fsync it, and rename it onto `path`. Returns what `write` returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        rows = write(aside)
        fsync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    fsync(path.parent)
    return rows


def aside_of(path: Path) -> Path:
    """Where a process writes what is to be renamed onto `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def fsync(path: Path) -> None:
    """Make a file's bytes, or the renames inside a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_all(paths: Iterable[Path]) -> None:
    """The same for many: what is asked for at once, a journalling file system makes durable in one go."""
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(fsync, paths))


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def combined_digest(parts: list[str]) -> str:
    """One digest of many, in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
