"""Running the checks now: every sentence that must be true of the lake, and of the marts that readers see.

What lives here: running sql/checks on the lake's tables and on CURRENT, and the lake's own promises (files, index,
calls counted once). What does not: the sentences in SQL (sql/checks), what happens when one is false (the caller).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import duckdb
import polars as pl

from pipelines.build.workbench import ALL
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty, polars_schema
from pipelines.errors import NotFoundError
from pipelines.lake import Lake, Partition, combined_digest, file_sha256
from pipelines.publish.readers import open_snapshot
from pipelines.publish.staging import Staged
from pipelines.settings import Settings
from pipelines.sqlmodel import SqlCheck, shipped_checks
from pipelines.transforms.deduplication import id_hashes
from pipelines.warehouse import create_view, identifier, shared_session

SAMPLE_ROWS = 5
ON_LAKE = "lake"
ON_CURRENT = "CURRENT"
_HOME_PATH = re.compile(r"/[^'\"\s]*/(lake|marts)/")


@dataclass(frozen=True)
class CheckOutcome:
    """One sentence, where it was asked (`lake` or `CURRENT`), and how many rows make it false, some as a sample.

    A sentence that cannot be asked (a damaged file, a column that an older snapshot lacks) counts as false, in one row.
    """

    name: str
    title: str
    severity: str
    asked_of: str
    failed_rows: int
    sample: tuple[Mapping[str, object], ...] = ()

    @property
    def is_true(self) -> bool:
        return self.failed_rows == 0

    @property
    def stops_publishing(self) -> bool:
        """True for a false sentence of severity `fail`."""
        return not self.is_true and self.severity == "fail"


def run_all_checks(settings: Settings, sample_rows: int = SAMPLE_ROWS) -> list[CheckOutcome]:
    """Every check, on the lake and then on CURRENT, and the lake's promises; nothing is written.

    Before the first publish the checks of CURRENT are left out. Raises PublishError when CURRENT is damaged.
    """
    checks = shipped_checks()
    lake = Lake(settings.lake)
    outcomes = [*lake_promises(lake), *checks_on_lake(settings, checks, sample_rows, afresh=True)]
    try:
        connection = open_snapshot(settings)
    except NotFoundError:
        return outcomes
    with connection:
        mine = [check for check in checks.values() if _is_about_marts(check)]
        outcomes += [_ask(connection, check, ON_CURRENT, sample_rows) for check in mine]
    return outcomes


def false_sentences_about_marts(staged: Staged) -> list[str]:
    """Sentences of severity `fail` about marts alone that are false here; what `publish` takes as its checks.

    A sentence about single months is asked of those that are not known to be right.
    """
    false = []
    for check in shipped_checks().values():
        if _is_about_marts(check) and check.severity == "fail":
            by_month = check.partition == "month" and staged.changed.keys() >= set(check.inputs)
            months = {month for table in check.inputs for month in staged.changed[table]} if by_month else None
            staged.show(check.inputs, months)
            outcome = _ask(staged.connection, check, ON_CURRENT, 0)
            if not outcome.is_true:
                false.append(f"not true: {outcome.title} ({outcome.failed_rows} rows)")
    return false


def _is_about_marts(check: SqlCheck) -> bool:
    return all(table.startswith("mart__") for table in check.inputs)


def checks_on_lake(
    settings: Settings, checks: Mapping[str, SqlCheck], sample_rows: int = SAMPLE_ROWS, *, afresh: bool = False
) -> list[CheckOutcome]:
    """The answers of these checks on the lake's tables as they stand.

    What was found true of the same partitions before is not asked again, a month at a time where the check allows it,
    unless `afresh`; then nothing is written either.
    """
    lake = Lake(settings.lake)
    with ExitStack() as closing:
        if not afresh:
            closing.enter_context(lake.writing())
        names = {name for check in checks.values() for name in (*check.inputs, _memory_of(check))}
        held = lake.tables(names)
        connection: duckdb.DuckDBPyConnection | None = None
        outcomes, found_true = [], []
        for check in checks.values():
            asked = _signatures(check, held, lake)
            if not afresh:
                asked = {key: text for key, text in asked.items() if not _is_remembered(check, held, key, text)}
            outcome = CheckOutcome(check.name, check.title, check.severity, ON_LAKE, 0)
            if asked:
                connection = connection or closing.enter_context(shared_session(settings))
                _show(connection, lake, check, held, asked)
                outcome = _ask(connection, check, ON_LAKE, sample_rows)
            outcomes.append(outcome)
            if outcome.is_true:
                found_true += [Partition(_memory_of(check), key, 0, "", text) for key, text in asked.items()]
        if found_true and not afresh:
            lake.register(*found_true)
    return outcomes


_Held = Mapping[str, Mapping[str, Partition]]


def _memory_of(check: SqlCheck) -> str:
    """Where the index keeps of what partitions a check was found true: a table without files."""
    return f"check__{check.name}"


def _signatures(check: SqlCheck, held: _Held, lake: Lake) -> dict[str, str]:
    """Month (or `all`) → a digest of the check and of all that it reads there; of nothing every check is true.

    Of a table that is not cut by month, a check of single months reads the rows of a month.
    """
    months: dict[str, dict[str, str] | None] = {}
    if check.partition == "month":
        undivided = {table: held[table][ALL] for table in check.inputs if ALL in held[table]}
        months = {table: _month_digests(lake.path(table, ALL), table, part.sha256) for table, part in undivided.items()}
    by_month = check.partition == "month" and None not in months.values()
    read: dict[str, list[str]] = {}
    with_rows: set[str] = set()
    for table in check.inputs:
        if by_month and table in months:
            for month, digest in (months[table] or {}).items():
                read.setdefault(month, []).append(f"{table}/{month}:{digest}")
                with_rows.add(month)
            continue
        for partition in held[table].values():
            key = partition.key[:7] if by_month else ALL
            read.setdefault(key, []).append(f"{table}/{partition.key}:{partition.sha256}")
            if partition.rows:
                with_rows.add(key)
    return {key: combined_digest([check.sql, *digests]) for key, digests in sorted(read.items()) if key in with_rows}


@lru_cache(maxsize=64)
def _month_digests(path: Path, table: str, sha256: str) -> dict[str, str] | None:
    """Digests of the rows of each month of an undivided table, in a file of this digest; None where they cannot be told
    apart."""
    if "month" not in polars_schema(contract_of(table)) or not path.is_file() or file_sha256(path) != sha256:
        return None
    months = pl.read_parquet(path).partition_by("month", as_dict=True)
    return {str(month): combined_digest([rows.write_csv()]) for (month,), rows in months.items()}


def _is_remembered(check: SqlCheck, held: _Held, key: str, signature: str) -> bool:
    known = held[_memory_of(check)].get(key)
    return known is not None and known.signature == signature


def _show(
    connection: duckdb.DuckDBPyConnection, lake: Lake, check: SqlCheck, held: _Held, months: Collection[str]
) -> None:
    """Let the tables of a check be their rows of these months."""
    for table in check.inputs:
        files = [lake.path(table, key) for key in held[table] if key == ALL or ALL in months or key[:7] in months]
        with suppress(duckdb.Error):  # a damaged file: whoever reads the table says that it cannot be asked
            create_view(connection, table, files, empty(contract_of(table)))
            if ALL in held[table] and ALL not in months:
                whole = connection.sql(f"SELECT * FROM {identifier(table)}")
                create_view(connection, table, [], whole.filter(_is_in(months)).pl())


def _is_in(months: Collection[str]) -> duckdb.Expression:
    return duckdb.ColumnExpression("month").isin(*(duckdb.ConstantExpression(month) for month in sorted(months)))


def _ask(connection: duckdb.DuckDBPyConnection, check: SqlCheck, asked_of: str, sample_rows: int) -> CheckOutcome:
    try:
        rows = connection.execute(check.sql).fetchall()
        names = [column[0] for column in connection.description or ()]
    except duckdb.Error as error:
        why = _HOME_PATH.sub(r"\1/", str(error).strip().splitlines()[0])
        return CheckOutcome(check.name, check.title, check.severity, asked_of, 1, ({"cannot be asked": why},))
    sample = tuple(dict(zip(names, row, strict=True)) for row in rows[:sample_rows])
    return CheckOutcome(check.name, check.title, check.severity, asked_of, len(rows), sample)


def lake_promises(lake: Lake) -> list[CheckOutcome]:
    """What no query can ask: every file is the one that the index knows, and no call counts on two days."""
    return [_files_are_as_indexed(lake), _calls_count_once(lake)]


def _files_are_as_indexed(lake: Lake) -> CheckOutcome:
    wrong: list[Mapping[str, object]] = []
    for table, key, sha256 in indexed_files(lake):
        path = lake.path(table, key)
        if not path.is_file():
            wrong.append({"file": f"lake/{table}/{key}.parquet", "found": "no file"})
        elif file_sha256(path) != sha256:
            wrong.append({"file": f"lake/{table}/{key}.parquet", "found": "other bytes"})
    return CheckOutcome(
        "every_partition_is_the_file_that_the_index_knows",
        "Every partition of the lake is the file that the index knows, byte for byte",
        "fail",
        ON_LAKE,
        len(wrong),
        tuple(wrong[:SAMPLE_ROWS]),
    )


def indexed_files(lake: Lake) -> list[tuple[str, str, str]]:
    """(table, key, sha256) of every partition in the index that has a file of its own, in order."""
    with lake.index() as index:
        rows = index.execute(
            "SELECT table_name, key, sha256 FROM partitions WHERE sha256 <> '' ORDER BY table_name, key"
        ).fetchall()
    return [(str(table), str(key), str(sha256)) for table, key, sha256 in rows]


def _calls_count_once(lake: Lake) -> CheckOutcome:
    """Ids are compared by hash first: only days that share one are read again, by their full ids."""
    days = sorted(lake.partitions("core__usage_ids"))
    suspects = _hashes_of_two_days(lake, days)
    held: list[pl.DataFrame] = []
    for day in days if len(suspects) else []:
        rows = lake.read("core__usage", day, ["provider", "request_id", "part"])
        if rows is not None:
            first_parts = rows.filter(pl.col("part") == 0)
            mine = first_parts.filter(id_hashes(first_parts).is_in(suspects.implode()))
            held.append(mine.select("provider", "request_id", pl.lit(day).alias("day")))
    twice = pl.DataFrame(schema={"provider": pl.String, "first_day": pl.String, "last_day": pl.String})
    if held:
        calls = pl.concat(held).group_by("provider", "request_id").agg(
            pl.col("day").min().alias("first_day"), pl.col("day").max().alias("last_day")
        )  # fmt: skip
        wrong = calls.filter(pl.col("first_day") < pl.col("last_day")).sort("first_day", "provider", "request_id")
        twice = wrong.select("provider", "first_day", "last_day")
    return CheckOutcome(
        "every_call_counts_on_one_day",
        "Every call counts on one UTC day only",
        "fail",
        ON_LAKE,
        twice.height,
        tuple(twice.head(SAMPLE_ROWS).to_dicts()),
    )


def _hashes_of_two_days(lake: Lake, days: list[str]) -> pl.Series:
    files: list[Path] = [lake.path("core__usage_ids", day) for day in days]
    if len(files) < 2:
        return pl.Series("id_hash", [], dtype=pl.UInt64)
    per_day = [pl.scan_parquet(path).unique() for path in files]
    counted = pl.concat(per_day).group_by("id_hash").len().filter(pl.col("len") > 1)
    return counted.select("id_hash").collect()["id_hash"].sort()
