"""Dagster's files of a home, written in few transactions by the runs of this process.

What lives here: the storage that `tokenmart` runs with, the same files as Dagster's own SQLite storage. What does not:
where they lie and when it is used (dagster_home.py).
Dagster gives every event a transaction, and an asset two. Here what a step tells once its work is done is one
transaction. A kill loses at most what Dagster would have told of the step that was running, never data.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    SqliteStorageConfig,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine

_TOLD_AT_ONCE = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        DagsterEventType.STEP_OUTPUT,
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_CHECK_EVALUATION,
    }
)
"""Events that come one close upon the other, when a run is planned and when a step's work is done: they wait for the
first of another kind."""


class HomeStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage, whose connections stay open and whose events are written step by step."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._run_storage = HomeRuns.from_local(_runs_directory(base_dir))
        self._event_log_storage = StepwiseEventLog(_event_logs_directory(base_dir))
        self._schedule_storage = SqliteScheduleStorage.from_local(_schedule_directory(base_dir))

    @classmethod
    def from_config_value(  # type: ignore[override] # Dagster's own storages narrow it in the same way
        cls, inst_data: ConfigurableClassData | None, config_value: SqliteStorageConfig
    ) -> "HomeStorage":
        return cls.from_local(inst_data=inst_data, **config_value)


class HomeRuns(SqliteRunStorage):
    """Dagster's list of runs over one engine: closing the last connection would write the file anew every time."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = create_engine(conn_string)
        super().__init__(conn_string, inst_data)

    def dispose(self) -> None:
        """Close the file."""
        self._engine.dispose()
        super().dispose()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection within a transaction."""
        with self._engine.connect() as connection, connection.begin():
            yield connection


class StepwiseEventLog(SqliteEventLogStorage):
    """Keeps one transaction open per file while events are written that wait for others, see `_TOLD_AT_ONCE`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._open: dict[str, Connection] = {}
        self._writer: int | None = None
        self._known: set[str] = set()
        super().__init__(base_dir, inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event; what waits is committed with the first event that does not."""
        self._writer = threading.get_ident()
        try:
            super().store_event(event)
        except BaseException:
            self._end(commit=False)
            raise
        if event.dagster_event_type not in _TOLD_AT_ONCE:
            self._end(commit=True)

    def dispose(self) -> None:
        """Commit what waits and close the files."""
        self._end(commit=True)
        for engine in self._engines.values():
            engine.dispose()
        super().dispose()

    def has_table(self, table_name: str) -> bool:
        """As Dagster's, asked once: it is asked for every event of an asset."""
        return self._once(table_name, lambda: super(StepwiseEventLog, self).has_table(table_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        ask = super()._has_asset_key_col_on_connection
        return self._once(column_name, lambda: ask(conn, column_name))

    def _once(self, name: str, ask: Callable[[], bool]) -> bool:
        if name not in self._known and ask():
            self._known.add(name)
        return name in self._known

    def _end(self, *, commit: bool) -> None:
        self._writer = None
        while self._open:
            _, connection = self._open.popitem()
            with connection:
                if commit:
                    connection.commit()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if self._writer == threading.get_ident():
            if shard not in self._open:
                self._open[shard] = self._engine(shard).connect()
                self._open[shard].begin()
            yield self._open[shard]
            return
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        """One engine per file: it remembers the statements that it has translated."""
        if shard not in self._engines:
            engine = create_engine(
                self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            )
            path = Path(self.path_for_shard(shard))
            if not path.exists() or not path.stat().st_size:
                _make_like(path, Path(self.path_for_shard(INDEX_SHARD_NAME)))
            self._engines[shard] = engine
        return self._engines[shard]


def _make_like(path: Path, index: Path) -> None:
    """Make a run's file: its tables are those of the index, and are copied rather than worked out again."""
    with closing(sqlite3.connect(index, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as source:
        tables = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        statements = [statement for (statement,) in tables]
        revisions = source.execute("SELECT version_num FROM alembic_version").fetchall()
    with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("BEGIN IMMEDIATE")
        if not made.execute("SELECT 1 FROM sqlite_master").fetchall():
            for statement in statements:
                made.execute(statement)
            made.executemany("INSERT INTO alembic_version VALUES (?)", revisions)
        made.execute("COMMIT")
