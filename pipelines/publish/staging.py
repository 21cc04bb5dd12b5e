"""Building one snapshot aside: canonical Parquet, checks, manifest. Nobody can see it yet.

What lives here: steps 3 to 7 of publishing, on a staging directory. What does not: `marts.duckdb` itself (database.py),
locks, CURRENT, retention.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import duckdb

from pipelines.errors import CheckFailedError, PublishError
from pipelines.publish import durable
from pipelines.publish.database import Built, within_months
from pipelines.publish.layout import DATABASE, MANIFEST, PARTITION
from pipelines.publish.manifest import CanonicalFile, Manifest
from pipelines.settings import Settings
from pipelines.warehouse import SERVED_NAME, attach, identifier, lock_down, served_session


@dataclass(frozen=True)
class Staged:
    """Marts that nobody sees yet, on a locked-down connection. `changed`: table → months that are not known to be right
    from the snapshot before; of a table that is not named, everything."""

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, Mapping[str, str]]
    changed: Mapping[str, frozenset[str]]

    def show(self, tables: Collection[str], months: Collection[str] | None) -> None:
        """Let these marts be their rows of `months`, or all of them again."""
        for table in tables:
            name = identifier(table)
            self.connection.execute(f"DROP VIEW IF EXISTS temp.{name}")
            if months is not None:
                within = within_months(self.columns[table], months)
                self.connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {SERVED_NAME}.{name} WHERE {within}")


Checks = Callable[[Staged], list[str]]
"""Runs every failing check; returns the sentences that are not true."""


def survey(
    tables: Mapping[str, Sequence[Path]],
    surveyed: Collection[CanonicalFile] = (),
    digests: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> tuple[CanonicalFile, ...]:
    """The files to publish, in load order, with the digest of their bytes; those `surveyed` before are not read again.

    digests: (table, partition) → digest of what was written, as the lake's index has it; such files are not read here,
    but a copy of one must agree with it (stage_file).
    Raises PublishError for a mart without a file, a name that is no partition, a partition given twice, a file that is
    missing, and ContractError for a mart's name that is no identifier.
    """
    found: list[CanonicalFile] = []
    known = {(file.table, file.partition): file for file in surveyed}
    for table, paths in tables.items():
        identifier(table)
        if not paths:
            raise PublishError(
                f"{table} has no file",
                where=f"lake/{table}",
                expected="at least one Parquet file, without rows if need be, so that its columns are known",
                next_move="write an empty partition",
            )
        found.extend(
            known.get((table, path.stem)) or _surveyed(table, path, digests.get((table, path.stem))) for path in paths
        )
        partitions = [file.partition for file in found if file.table == table]
        if len(set(partitions)) != len(partitions):
            raise PublishError(
                f"{table} has a partition twice",
                where=f"lake/{table}",
                expected=f"each of {sorted(set(partitions))} once",
                next_move="pass every canonical file once",
            )
    return tuple(found)


def _surveyed(table: str, path: Path, digest: str | None) -> CanonicalFile:
    where = f"lake/{table}/{path.name}"
    if path.suffix != ".parquet" or not PARTITION.match(path.stem):
        raise PublishError(
            f"{path.name} is not a canonical file",
            where=where,
            expected="YYYY-MM.parquet of a dated mart, or all.parquet",
            next_move="write the mart by month",
        )
    try:
        return CanonicalFile(table, path.stem, digest or durable.sha256_of(path), path.stat().st_size)
    except FileNotFoundError as error:
        raise PublishError(
            "a canonical file is missing", where=where, expected="a Parquet file", next_move="`tokenmart run` builds it"
        ) from error


def stage_file(staging: Path, file: CanonicalFile, source: Path, parent: Path | None) -> bool:
    """Put one canonical file into `staging`: a hard link to the parent's where the bytes are equal, else a copy.

    True when it is a copy, which is still to be sealed. Raises PublishError when the lake's file has other bytes.
    """
    target = staging / file.relative
    target.parent.mkdir(exist_ok=True)
    before = None if parent is None else parent / file.relative
    if before is not None and before.is_file() and durable.sha256_of(before) == file.sha256:
        return not durable.link_or_copy(before, target)
    if durable.copy(source, target) != file.sha256:
        raise PublishError(
            "a file of the lake is not what was written there",
            where=f"lake/{file.relative}",
            expected="one writer at a time, and nobody else who changes files of the lake",
            next_move="wait for the other run to end; else remove the file and start again, which builds it anew",
        )
    return True


def run_checks(settings: Settings, built: Built, database: Path, checks: Checks, *, parent_passed: bool) -> None:
    """Run the checks on the staged database as a reader sees it.

    parent_passed: the same checks were true of the parent, so of months that are its own they need not be asked again.
    Raises CheckFailedError naming what is not true.
    """
    columns = {table: facts.columns for table, facts in built.tables.items()}
    with served_session(settings) as connection:
        attach(connection, database, read_only=True)
        lock_down(connection)
        failed = checks(Staged(connection, columns, built.changed if parent_passed else {}))
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
