"""DuckDB sessions: how a connection is made, and how it is locked down before a person's SQL reaches it.

What lives here: session settings, the lock, quoting of identifiers and paths, loading Parquet files into a table.
What does not: any model (sql/), where snapshots stand (publish/layout.py), what a query may say (publish/query.py).
"""

from __future__ import annotations

import glob
import re
import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import ContractError, SettingsError
from pipelines.settings import Settings

if TYPE_CHECKING:
    import polars as pl  # only named here: a query answers 0.2 s sooner without loading it
    import pyarrow as pa

warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)  # `answer` says why

SERVED_NAME = "marts"
"""Catalogue name under which a published database is attached; BI tools see the same, from the file name."""

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*\Z")

_LOCKS = (
    "SET TimeZone='UTC'",
    "SET autoinstall_known_extensions=false",
    "SET autoload_known_extensions=false",
    "SET allow_community_extensions=false",
    "SET python_enable_replacements=false",
    "SET temp_directory=''",
    "SET enable_external_access=false",
    "SET disabled_filesystems='LocalFileSystem'",
    "SET lock_configuration=true",
)


def session(settings: Settings, *, read_only_db: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A working session of the build: in memory, UTC, offline, spilling to `<home>/lake/.tmp`.

    With `read_only_db` that file is attached read-only as `marts` and becomes the default catalogue. Every session is
    its own DuckDB instance, so sessions on one file do not share settings. Raises SettingsError for unusable limits.
    """
    spill = settings.lake / ".tmp"
    spill.mkdir(parents=True, exist_ok=True)
    connection = _connect(settings, spill=str(spill))
    if read_only_db is not None:
        attach(connection, read_only_db, read_only=True)
    return connection


def shared_session(settings: Settings) -> duckdb.DuckDBPyConnection:
    """As `session`, but one of several on one DuckDB instance of this process: making an instance takes 12 ms.

    Temporary views are its own; it must attach nothing and set nothing.
    """
    spill = settings.lake / ".tmp"
    spill.mkdir(parents=True, exist_ok=True)
    with _ONE_INSTANCE:
        connection = _instance(settings).cursor()
    connection.execute("SET TimeZone='UTC'")
    return connection


def scratch_session() -> duckdb.DuckDBPyConnection:
    """A session for a query over frames, in memory, without a home: as shared_session, but it never spills."""
    with _ONE_INSTANCE:
        connection = _scratch_instance().cursor()
    connection.execute("SET TimeZone='UTC'")
    return connection


@lru_cache(maxsize=1)
def _scratch_instance() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        ":memory:", config={"threads": 1, "temp_directory": "", "autoinstall_known_extensions": False}
    )


_ONE_INSTANCE = threading.Lock()


@lru_cache(maxsize=1)
def _instance(settings: Settings) -> duckdb.DuckDBPyConnection:
    return _connect(settings, spill=str(settings.lake / ".tmp"))


def answer(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """All rows of a query, which is planned once: a relation is planned when it is made, and again when it is read. For
    the queries of models that costs more than the copy of the rows that DuckDB warns of."""
    return connection.execute(query).to_arrow_table()


def served_session(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An empty session for readers: as `session`, but it never writes to disk, so it needs no writable home."""
    return _connect(settings, spill="")


def _connect(settings: Settings, *, spill: str) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "temp_directory": spill,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_persistent_secrets": False,
    }
    try:
        connection = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise SettingsError(
            "DuckDB does not accept the resource limits",
            where=f"threads={settings.threads}, memory_limit={settings.memory_limit}",
            expected="a whole number of threads and a size such as 4GB",
            next_move="correct TOKENMART_THREADS or TOKENMART_MEMORY",
        ) from error
    connection.execute("SET TimeZone='UTC'")
    return connection


def attach(connection: duckdb.DuckDBPyConnection, database: Path, *, read_only: bool) -> None:
    """Attach a database file as `marts` and make it the default catalogue.

    A file made here is stored in the format of DuckDB 1.4, so that BI tools on 1.x can open it.
    """
    options = "READ_ONLY" if read_only else "STORAGE_VERSION 'v1.4.0'"
    connection.execute(f"ATTACH {text_literal(str(database))} AS {SERVED_NAME} ({options})")
    connection.execute(f"USE {SERVED_NAME}")


def detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Write everything into the attached file and let go of it; no `.wal` may remain beside it."""
    connection.execute(f"CHECKPOINT {SERVED_NAME}")
    connection.execute("USE memory")
    connection.execute(f"DETACH {SERVED_NAME}")


def lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    """Close every way from SQL to this machine, for good; tables already attached or loaded stay readable.

    `enable_external_access=false` alone leaves the attached file itself, and a `.wal` beside it, open to `COPY … TO`
    and `read_blob`; disabling the local file system closes that. Afterwards no setting can be changed.
    """
    for statement in _LOCKS:
        connection.execute(statement)


def load_parquet(
    connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path], *, snapshot_id: str | None = None
) -> None:
    """Create `table` in the default catalogue from Parquet files: their types, their rows in stored order.

    With `snapshot_id` a VARCHAR column `_snapshot_id` follows the stored columns.
    """
    paths = ", ".join(text_literal(glob.escape(str(path))) for path in files)
    extra = "" if snapshot_id is None else f", {text_literal(snapshot_id)} AS _snapshot_id"
    connection.execute(
        f"CREATE TABLE {identifier(table)} AS SELECT *{extra} "
        f"FROM read_parquet([{paths}], hive_partitioning=false, file_row_number=false)"
    )


def add_parquet(connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path], *, snapshot_id: str) -> None:
    """Add the rows of Parquet files with the columns of `table`, `_snapshot_id` last, to it."""
    paths = ", ".join(text_literal(glob.escape(str(path))) for path in files)
    connection.execute(
        f"INSERT INTO {identifier(table)} SELECT *, {text_literal(snapshot_id)} "
        f"FROM read_parquet([{paths}], hive_partitioning=false, file_row_number=false)"
    )


def create_view(
    connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path], otherwise: pl.DataFrame
) -> None:
    """Let `table` from now on be the union of Parquet files, or the empty frame `otherwise` where there is none."""
    if not files:
        connection.execute(f"DROP VIEW IF EXISTS {identifier(table)}")
        connection.register(table, otherwise.to_arrow())
        return
    paths = ", ".join(text_literal(glob.escape(str(path))) for path in files)
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {identifier(table)} AS"
        f" SELECT * FROM read_parquet([{paths}], hive_partitioning=false)"
    )


def identifier(name: str) -> str:
    """`name` quoted as a SQL identifier. Raises ContractError unless it is lower snake case."""
    if not _IDENTIFIER.match(name):
        raise ContractError(
            f"{name!r} cannot be the name of a table or column",
            expected="lower snake case, such as mart__feature_cost_daily",
            next_move="rename it at its source",
        )
    return f'"{name}"'


def text_literal(text: str) -> str:
    """`text` as a SQL string literal, for statements that take no parameters (ATTACH, CREATE TABLE AS)."""
    return "'" + text.replace("'", "''") + "'"
