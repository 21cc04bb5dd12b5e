"""MANIFEST.json: what a snapshot holds, from what it was made, and the digest that names it.

What lives here: the manifest's shape, its digest, the sums in it, writing and reading it.
What does not: which files belong into a snapshot (staging.py), when it goes live (commit.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import NotFoundError, PublishError
from pipelines.publish import durable
from pipelines.publish.layout import MANIFEST
from pipelines.settings import CODE_VERSION
from pipelines.warehouse import identifier

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CanonicalFile:
    """One canonical Parquet file: `sha256` of its bytes, `size_bytes`, and its place `<table>/<partition>.parquet`."""

    table: str
    partition: str
    sha256: str
    size_bytes: int

    @property
    def relative(self) -> str:
        return f"{self.table}/{self.partition}.parquet"


@dataclass(frozen=True)
class TableFacts:
    """One mart as published: columns with DuckDB types, rows, and sums as exact decimal text (None: no value)."""

    columns: dict[str, str]
    rows: int
    money_sums: dict[str, str | None]
    token_sums: dict[str, str | None]


@dataclass(frozen=True)
class Manifest:
    """What MANIFEST.json says. `files` stand in load order; `facts` is whatever the build wanted to have on record."""

    snapshot_id: str
    digest: str
    parent: str | None
    published_at: datetime
    files: tuple[CanonicalFile, ...]
    tables: Mapping[str, TableFacts]
    facts: Mapping[str, Any]
    closes: tuple[str, ...] = ()
    """Periods that are closed here and were not in the parent: such a snapshot never expires."""
    journals: tuple[str, ...] = ()
    """Tables that tell of publishes themselves: part of the snapshot, outside its digest."""
    checked_with: str | None = None
    """Which checks were true of it (checks_digest); None where none were asked, or nothing tells which."""

    def files_of(self, table: str) -> tuple[CanonicalFile, ...]:
        """The canonical files of one mart, in load order."""
        return tuple(file for file in self.files if file.table == table)

    @property
    def table_names(self) -> tuple[str, ...]:
        """All marts, in load order."""
        return tuple(dict.fromkeys(file.table for file in self.files))

    def closed_periods(self) -> set[str]:
        """The closed periods in `facts` (a list of names, or a mapping by name)."""
        return closed_periods(self.facts)


def closed_periods(facts: Mapping[str, Any]) -> set[str]:
    """The names under `closed_periods` in a build's facts; none where it is absent."""
    return {str(period) for period in facts.get("closed_periods") or ()}


def checks_digest(facts: Mapping[str, Any]) -> str | None:
    """What names the checks of a build: its code and its SQL; None where the facts do not tell."""
    told = facts.get("sql_digest")
    return None if told is None else hashlib.sha256(f"{CODE_VERSION}|{told}".encode()).hexdigest()


def content_digest(files: Iterable[CanonicalFile], journals: Collection[str] = ()) -> str:
    """SHA-256 over the sorted (table, partition, sha256 of the bytes), tables named in `journals` left out.

    Equal digests mean equal canonical Parquet.
    """
    told = [file for file in files if file.table not in journals]
    lines = sorted(f"{file.table}\t{file.partition}\t{file.sha256}\n" for file in told)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def describe(connection: duckdb.DuckDBPyConnection, table: str) -> TableFacts:
    """Columns, rows and exact sums of a loaded mart, computed in DuckDB.

    Money is every `*_usd` column and tokens every `*_tokens` column, ratios (`_per_` in the name) left out. Raises
    PublishError for money or tokens in floating point; a sum that overflows raises from DuckDB.
    """
    name = identifier(table)
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    columns = {row[0]: row[1] for row in described if row[0] != "_snapshot_id"}
    money = [column for column in columns if column.endswith("_usd") and "_per_" not in column]
    tokens = [column for column in columns if column.endswith("_tokens") and "_per_" not in column]
    for column in money + tokens:
        if columns[column] in {"FLOAT", "DOUBLE"}:
            raise PublishError(
                f"column {column} is {columns[column]}",
                where=table,
                expected="DECIMAL(38,12) for money, an integer for tokens: floating point loses cents",
                next_move="cast it in the mart's SQL",
            )
    sums = "".join(f", CAST(sum({identifier(column)}) AS VARCHAR)" for column in money + tokens)
    values = connection.execute(f"SELECT count(*){sums} FROM {name}").fetchall()[0]
    found = dict(zip(money + tokens, values[1:], strict=True))
    return TableFacts(
        columns=columns,
        rows=values[0],
        money_sums={column: found[column] for column in money},
        token_sums={column: found[column] for column in tokens},
    )


def write_manifest(directory: Path, manifest: Manifest, home: Path) -> None:
    """Write MANIFEST.json durably. Raises PublishError when the facts hold no JSON values or name the home's path."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "snapshot_id": manifest.snapshot_id,
        "digest": manifest.digest,
        "parent": manifest.parent,
        "published_at": manifest.published_at,
        "code_version": CODE_VERSION,
        "duckdb_version": duckdb.__version__,
        "closes": list(manifest.closes),
        "journals": list(manifest.journals),
        "checked_with": manifest.checked_with,
        "facts": manifest.facts,
        "tables": {
            table: {
                "rows": facts.rows,
                "money_sums": facts.money_sums,
                "token_sums": facts.token_sums,
                "columns": facts.columns,
            }
            for table, facts in manifest.tables.items()
        },
        "files": [
            {"table": f.table, "partition": f.partition, "sha256": f.sha256, "size_bytes": f.size_bytes}
            for f in manifest.files
        ],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"
    if str(home) in text:
        raise PublishError(
            "the manifest would hold the path of this home",
            where=MANIFEST,
            expected="paths relative to the home: a manifest travels with the marts",
            next_move="make the paths in the build's facts relative",
        )
    durable.write_text(directory / MANIFEST, text)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise PublishError(
        f"a fact of type {type(value).__name__} cannot be recorded",
        where=MANIFEST,
        expected="text, numbers, decimals, dates, lists and mappings of them",
        next_move="convert it before publishing",
    )


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a snapshot's directory. Raises NotFoundError without one, PublishError for a damaged one."""
    where = f"marts/snapshots/{directory.name}/{MANIFEST}"
    try:
        raw = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        return Manifest(
            snapshot_id=raw["snapshot_id"],
            digest=raw["digest"],
            parent=raw["parent"],
            published_at=datetime.fromisoformat(raw["published_at"]),
            files=tuple(CanonicalFile(**file) for file in raw["files"]),
            tables={table: TableFacts(**facts) for table, facts in raw["tables"].items()},
            facts=raw["facts"],
            closes=tuple(raw["closes"]),
            journals=tuple(raw.get("journals", ())),
            checked_with=raw.get("checked_with"),
        )
    except FileNotFoundError as error:
        raise NotFoundError(
            f"snapshot {directory.name} does not exist",
            where=where,
            expected="a published snapshot",
            next_move="`tokenmart snapshots list` shows those that do",
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise PublishError(
            "the snapshot's manifest cannot be read",
            where=where,
            expected=f"JSON of schema version {SCHEMA_VERSION}",
            next_move="`tokenmart snapshots rollback ID` to a snapshot that is whole",
        ) from error


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Raise PublishError unless every canonical file still has the bytes that the manifest names."""
    for file in manifest.files:
        path = directory / file.relative
        if not path.is_file() or durable.sha256_of(path) != file.sha256:
            raise PublishError(
                "a canonical file is not what was published",
                where=f"marts/snapshots/{directory.name}/{file.relative}",
                expected=f"sha256 {file.sha256}",
                next_move="restore it from a backup, or choose another snapshot",
            )
