"""`marts.duckdb` of a snapshot: loaded from its canonical files, or its parent's with what changed exchanged.

What lives here: making the database, and where a month stands in it. What does not: the canonical files (staging.py),
when anybody sees it (commit.py).
A night changes a few months of a long history. To load all of them costs in proportion to the history; so the parent's
database is copied, and only partitions with other bytes are taken out and loaded. Wherever it is not certain that the
outcome is the same, everything is loaded.
"""

from __future__ import annotations

import shutil
from calendar import monthrange
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import PublishError
from pipelines.publish import durable
from pipelines.publish.layout import ALL, DATABASE
from pipelines.publish.manifest import CanonicalFile, Manifest, TableFacts, describe
from pipelines.settings import Settings
from pipelines.warehouse import add_parquet, attach, detach, identifier, load_parquet, session, text_literal

_BEFORE = "as_it_was_before"
_MOST_EXCHANGED = 0.5
"""Where more than this share of the bytes changed, loading everything is as cheap, and packs better."""


@dataclass(frozen=True)
class Built:
    """What a database holds. `changed` names the months in which a mart is not as its parent's; of a mart that it does
    not name, all may be new."""

    tables: dict[str, TableFacts]
    changed: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Parent:
    """The snapshot before: its directory and its manifest."""

    directory: Path
    manifest: Manifest


class _NotCertainError(Exception):
    """The parent's database is not what its manifest makes of it: load everything."""


def build_database(
    settings: Settings,
    directory: Path,
    database: Path,
    snapshot_id: str,
    files: Sequence[CanonicalFile],
    parent: Parent | None = None,
    midway: Callable[[], None] = lambda: None,
) -> Built:
    """Make `database` from the canonical files below `directory`.

    `midway` is called when all tables stand and nothing is checkpointed. Raises PublishError when the partitions of a
    mart differ in their columns, or when DuckDB leaves a write-ahead log behind.
    """
    exchange = None if parent is None else _exchange(parent, files)
    built = None
    if parent is not None and exchange is not None:
        try:
            built = _exchanged(settings, directory, database, snapshot_id, parent, exchange, midway)
        except (_NotCertainError, duckdb.Error):
            for half_made in database.parent.glob(f"{database.name}*"):
                half_made.unlink()
    if built is None:
        built = _loaded(settings, directory, database, snapshot_id, files, midway)
    leftover = database.with_name(f"{database.name}.wal")
    if leftover.exists():
        raise PublishError(
            "DuckDB left a write-ahead log behind",
            where=leftover.name,
            expected="everything inside the database file",
            next_move="start again; if it stays, report the DuckDB version",
        )
    durable.fsync(database)
    return built


def _loaded(
    settings: Settings,
    directory: Path,
    database: Path,
    snapshot_id: str,
    files: Sequence[CanonicalFile],
    midway: Callable[[], None],
) -> Built:
    tables: dict[str, TableFacts] = {}
    try:
        with session(settings) as connection:
            attach(connection, database, read_only=False)
            for table in dict.fromkeys(file.table for file in files):
                paths = [directory / file.relative for file in files if file.table == table]
                same_columns(table, paths)
                load_parquet(connection, table, paths, snapshot_id=snapshot_id)
                tables[table] = describe(connection, table)
            midway()
            detach(connection)
    except duckdb.Error as error:
        raise PublishError(
            f"{DATABASE} could not be built: {str(error).replace(str(settings.home), '<home>')}",
            where=", ".join(file.relative for file in files if file.table not in tables) or DATABASE,
            expected="Parquet that DuckDB reads, and room on the disk",
            next_move="nothing was published; rebuild those marts or free space, then start again",
        ) from error
    return Built(tables, {})


@dataclass(frozen=True)
class _Exchange:
    """One mart: partitions of the parent that are taken out, and those that are put in; `whole` where that is all."""

    table: str
    out: tuple[CanonicalFile, ...]
    into: tuple[CanonicalFile, ...]
    whole: bool


def _exchange(parent: Parent, files: Sequence[CanonicalFile]) -> list[_Exchange] | None:
    """What differs from the parent, mart by mart; None where all should be loaded."""
    if not (parent.directory / DATABASE).is_file():
        return None
    held = parent.manifest.files
    tables = tuple(dict.fromkeys(file.table for file in files))
    new = [file for file in files if file not in set(held)]
    if tables != parent.manifest.table_names or _bytes(new) > _MOST_EXCHANGED * _bytes(files):
        return None
    exchange = []
    for table in tables:
        mine, before = [f for f in files if f.table == table], [f for f in held if f.table == table]
        out = tuple(file for file in before if file not in set(mine))
        into = tuple(file for file in mine if file not in set(before))
        stays = len(out) < len(before) and month_column(parent.manifest.tables[table].columns) is not None
        months = all(file.partition != ALL for file in mine)
        exchange.append(_Exchange(table, out, into, not (stays and months) and bool(into)))
    return exchange


def _bytes(files: Sequence[CanonicalFile]) -> int:
    return sum(file.size_bytes for file in files)


def _exchanged(
    settings: Settings,
    directory: Path,
    database: Path,
    snapshot_id: str,
    parent: Parent,
    exchange: Sequence[_Exchange],
    midway: Callable[[], None],
) -> Built:
    shutil.copyfile(parent.directory / DATABASE, database)
    tables: dict[str, TableFacts] = {}
    months: dict[str, frozenset[str]] = {}
    with session(settings) as connection:
        attach(connection, database, read_only=False)
        _expect_few_holes(connection)
        _expect_tables(connection, parent)
        for part in exchange:
            paths = [directory / file.relative for file in part.into]
            staying = [f for f in parent.manifest.files_of(part.table) if f not in part.out]
            same_columns(part.table, [*(directory / file.relative for file in staying[:1]), *paths])
            name = identifier(part.table)
            if part.whole:
                connection.execute(f"ALTER TABLE {name} RENAME TO {_BEFORE}")
                load_parquet(connection, part.table, paths, snapshot_id=snapshot_id)
                if "month" in parent.manifest.tables[part.table].columns:
                    months[part.table] = _months_that_differ(connection, name)
                connection.execute(f"DROP TABLE {_BEFORE}")
            else:
                months[part.table] = frozenset(file.partition for file in (*part.out, *part.into))
                _take_out(connection, part, parent)
                if paths:
                    add_parquet(connection, part.table, paths, snapshot_id=snapshot_id)
                connection.execute(f"ALTER TABLE {name} DROP COLUMN _snapshot_id")
                connection.execute(
                    f"ALTER TABLE {name} ADD COLUMN _snapshot_id VARCHAR DEFAULT {text_literal(snapshot_id)}"
                )
                connection.execute(f"ALTER TABLE {name} ALTER COLUMN _snapshot_id DROP DEFAULT")
            is_as_before = not (part.out or part.into)
            told = parent.manifest.tables[part.table]
            tables[part.table] = told if is_as_before else describe(connection, part.table)
        midway()
        detach(connection)
    return Built(tables, months)


def _expect_few_holes(connection: duckdb.DuckDBPyConnection) -> None:
    """A file that was patched often has more free blocks than used ones: then it is time to pack it anew."""
    size = "SELECT free_blocks, used_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    free, used = connection.execute(size).fetchall()[0]
    if free > used:
        raise _NotCertainError


def _months_that_differ(connection: duckdb.DuckDBPyConnection, name: str) -> frozenset[str]:
    """The months of a mart with a row that the parent's has not, or the other way round."""
    now, before = (f"SELECT * EXCLUDE (_snapshot_id) FROM {table}" for table in (name, _BEFORE))
    rows = connection.execute(f"(({now}) EXCEPT ALL ({before})) UNION ALL (({before}) EXCEPT ALL ({now}))")
    at = [column[0] for column in rows.description].index("month")
    return frozenset(str(row[at]) for row in rows.fetchall())


def _expect_tables(connection: duckdb.DuckDBPyConnection, parent: Parent) -> None:
    held = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
    if {row[0] for row in connection.execute(held).fetchall()} != set(parent.manifest.table_names):
        raise _NotCertainError


def _take_out(connection: duckdb.DuckDBPyConnection, part: _Exchange, parent: Parent) -> None:
    """Delete partitions, and make sure that what stood there, and what was deleted, is as much as the parent says."""
    name = identifier(part.table)
    held = connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0]
    if held != parent.manifest.tables[part.table].rows:
        raise _NotCertainError
    expected = sum(_rows(parent.directory / file.relative) for file in part.out)
    if not expected:
        return
    within = within_months(parent.manifest.tables[part.table].columns, [file.partition for file in part.out])
    deleted = connection.execute(f"DELETE FROM {name} WHERE {within}").fetchall()[0][0]
    if deleted != expected:
        raise _NotCertainError


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise _NotCertainError from error


def month_column(columns: Mapping[str, str]) -> str | None:
    """The column by which a mart is cut into months: its day, else its month; None for a mart that has neither."""
    return next((name for name in ("usage_date", "month") if name in columns), None)


def within_months(columns: Mapping[str, str], months: Collection[str]) -> str:
    """SQL that is true of the rows of these months (YYYY-MM) of a mart that has a month column."""
    if not months:
        return "false"
    if month_column(columns) == "month":
        return f"month IN ({', '.join(text_literal(month) for month in months)})"
    # Rows are stored by day: of a range, unlike of a function of the day, DuckDB reads only what can hold it.
    return " OR ".join(f"(usage_date BETWEEN {_first_and_last(month)})" for month in sorted(months))


def _first_and_last(month: str) -> str:
    year, number = map(int, month.split("-"))
    days = (date(year, number, day) for day in (1, monthrange(year, number)[1]))
    return " AND ".join(f"DATE {text_literal(str(day))}" for day in days)


def same_columns(table: str, paths: Sequence[Path]) -> None:
    """Raise PublishError unless all partitions of a mart are Parquet with the same columns and types, in one order."""
    first: pa.Schema | None = None
    for path in paths:
        where = f"{table}/{path.name}"
        try:
            schema = pq.read_schema(path).remove_metadata()
        except (OSError, pa.ArrowInvalid) as error:
            raise PublishError(
                "a canonical file is not readable Parquet",
                where=where,
                expected="a whole Parquet file",
                next_move=f"rebuild {table}",
            ) from error
        if first is not None and schema != first:
            raise PublishError(
                f"the partitions of {table} differ in their columns",
                where=where,
                expected=f"the columns and types of {paths[0].name}",
                next_move=f"rebuild every partition of {table}",
            )
        first = schema
