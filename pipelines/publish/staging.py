"""Building one snapshot aside: canonical Parquet, `marts.duckdb`, checks, manifest. Nobody can see it yet.

What lives here: steps 3 to 7 of publishing, on a staging directory. What does not: locks, CURRENT, retention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import CheckFailedError, PublishError
from pipelines.publish import durable
from pipelines.publish.layout import DATABASE, MANIFEST, PARTITION
from pipelines.publish.manifest import CanonicalFile, Manifest, TableFacts, describe
from pipelines.settings import Settings
from pipelines.warehouse import attach, detach, identifier, load_parquet, lock_down, served_session, session

Checks = Callable[[duckdb.DuckDBPyConnection], list[str]]
"""Runs every failing check on a locked-down connection; returns the sentences that are not true."""


def survey(tables: Mapping[str, Sequence[Path]]) -> tuple[CanonicalFile, ...]:
    """The files to publish, in load order, with the digest of their bytes.

    Raises PublishError for a mart without a file, a name that is no partition, a partition given twice, a file that is
    missing, and ContractError for a mart's name that is no identifier.
    """
    found: list[CanonicalFile] = []
    for table, paths in tables.items():
        identifier(table)
        if not paths:
            raise PublishError(
                f"{table} has no file",
                where=f"lake/{table}",
                expected="at least one Parquet file, without rows if need be, so that its columns are known",
                next_move="write an empty partition",
            )
        found.extend(_surveyed(table, path) for path in paths)
        partitions = [file.partition for file in found if file.table == table]
        if len(set(partitions)) != len(partitions):
            raise PublishError(
                f"{table} has a partition twice",
                where=f"lake/{table}",
                expected=f"each of {sorted(set(partitions))} once",
                next_move="pass every canonical file once",
            )
    return tuple(found)


def _surveyed(table: str, path: Path) -> CanonicalFile:
    where = f"lake/{table}/{path.name}"
    if path.suffix != ".parquet" or not PARTITION.match(path.stem):
        raise PublishError(
            f"{path.name} is not a canonical file",
            where=where,
            expected="YYYY-MM.parquet of a dated mart, or all.parquet",
            next_move="write the mart by month",
        )
    try:
        return CanonicalFile(table, path.stem, durable.sha256_of(path), path.stat().st_size)
    except FileNotFoundError as error:
        raise PublishError(
            "a canonical file is missing", where=where, expected="a Parquet file", next_move="`tokenmart run` builds it"
        ) from error


def stage_file(staging: Path, file: CanonicalFile, source: Path, parent: Path | None) -> bool:
    """Put one canonical file into `staging`: a hard link to the parent's where the bytes are equal, else a copy.

    True when it is a copy, which is still to be sealed. Raises PublishError when the lake's file changed meanwhile.
    """
    target = staging / file.relative
    target.parent.mkdir(exist_ok=True)
    before = None if parent is None else parent / file.relative
    if before is not None and before.is_file() and durable.sha256_of(before) == file.sha256:
        return not durable.link_or_copy(before, target)
    if durable.copy(source, target) != file.sha256:
        raise PublishError(
            "a file of the lake changed while it was published",
            where=f"lake/{file.relative}",
            expected="one writer at a time",
            next_move="wait for the other run to end and start again",
        )
    return True


def build_database(
    settings: Settings,
    directory: Path,
    database: Path,
    snapshot_id: str,
    files: Sequence[CanonicalFile],
    midway: Callable[[], None] = lambda: None,
) -> dict[str, TableFacts]:
    """Make `database` from the canonical files below `directory`; what each table holds.

    `midway` is called when all tables stand and nothing is checkpointed. Raises PublishError when the partitions of a
    mart differ in their columns, or when DuckDB leaves a write-ahead log behind.
    """
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
    leftover = database.with_name(f"{database.name}.wal")
    if leftover.exists():
        raise PublishError(
            "DuckDB left a write-ahead log behind",
            where=leftover.name,
            expected="everything inside the database file",
            next_move="start again; if it stays, report the DuckDB version",
        )
    durable.fsync(database)
    return tables


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


def run_checks(settings: Settings, database: Path, checks: Checks) -> None:
    """Run the checks on the staged database as a reader sees it. Raises CheckFailedError naming what is not true."""
    with served_session(settings) as connection:
        attach(connection, database, read_only=True)
        lock_down(connection)
        failed = checks(connection)
    if failed:
        raise CheckFailedError(
            "; ".join(failed),
            where="the snapshot that was about to be published",
            expected="every failing check to return no row",
            next_move="nothing was published, readers keep the last snapshot; `tokenmart check` shows the rows",
        )


def seal(staging: Path, manifest: Manifest, copied: Sequence[CanonicalFile]) -> None:
    """Make every new file read-only and durable, then the directories; what was linked has been both for long."""
    for name in (DATABASE, MANIFEST, *(file.relative for file in copied)):
        (staging / name).chmod(durable.READ_ONLY)
        durable.fsync(staging / name)
    for table in manifest.table_names:
        durable.fsync(staging / table)
    durable.fsync(staging)
