"""The journal of closes: what was signed, kept beside the lake so that rebuilding the lake from nothing loses no close.

What lives here: writing a close to <home>/closed/, restoring the lake's tables from there, frozen rows under a newer
contract. What does not: what speaks against a close (history/closing.py), corrections (sql/).

A closed month is two files: <month>.parquet, the rows as they were signed, and <month>.json, its line, written last:
without the line there was no close. Neither is ever written again. lake/core__closed_costs and lake/core__closed_months
are made from them at every run, so both may be deleted with the lake. A column that joined the contract after a close
is NULL in its rows; the signed file keeps its bytes and its sha256.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pandera.polars as pa
import polars as pl

from pipelines.contracts.closing import CoreClosedCosts, CoreClosedMonths
from pipelines.contracts.fields import conform, polars_schema
from pipelines.errors import ContractError
from pipelines.lake import Lake, combined_digest, file_sha256, replace_durably, write_parquet
from pipelines.settings import Settings

CLOSED_MONTHS = "core__closed_months"
CLOSED_COSTS = "core__closed_costs"
_LINE = tuple(polars_schema(CoreClosedMonths))


def write_close(settings: Settings, month: str, frozen: pl.DataFrame, closed_at: datetime, code_version: str) -> str:
    """Sign a month: its rows, then its line. Returns the sha256 of the rows. The caller holds the lake's lock and
    restores the lake's tables."""
    rows = _rows_path(settings, month)
    write_parquet(frozen, rows)
    line = {
        "month": month,
        "closed_at": closed_at.isoformat(),
        "closed_costs_sha256": file_sha256(rows),
        "code_version": code_version,
    }
    _write_line(settings, line)
    return str(line["closed_costs_sha256"])


def restore_closes(settings: Settings) -> list[str]:
    """Bring the lake's tables of closed months in line with the journal; the closed months, in order.

    A lake that holds closes from before there was a journal hands them over first. Nothing is written where lake and
    journal agree. The caller holds the lake's lock. Raises ContractError where signed rows are gone or were changed.
    """
    lake = Lake(settings.lake)
    _take_over(settings, lake)
    lines = _lines(settings)
    schema = str([polars_schema(contract) for contract in (CoreClosedCosts, CoreClosedMonths)])
    held = {table: lake.partitions(table) for table in (CLOSED_COSTS, CLOSED_MONTHS)}
    for month, line in lines.items():
        path = _rows_path(settings, month)
        if not path.exists() or file_sha256(path) != line["closed_costs_sha256"]:
            raise ContractError(
                f"the signed rows of {month} {'were changed' if path.exists() else 'are gone'}",
                where=f"closed/{path.name}",
                expected=f"the bytes with sha256 {line['closed_costs_sha256']}, as closed/{month}.json says",
                next_move="put the file back from a backup: a closed month is never written again",
            )
        signature = combined_digest([json.dumps(line, sort_keys=True), schema])
        if all(month in there and there[month].signature == signature for there in held.values()):
            continue
        costs = under_contract(pl.read_parquet(path), CoreClosedCosts, f"closed/{path.name}")
        told = {**line, "closed_at": datetime.fromisoformat(line["closed_at"])}
        months = pl.DataFrame([told]).select(_LINE)
        lake.write(CLOSED_COSTS, month, costs, CoreClosedCosts, signature)
        lake.write(CLOSED_MONTHS, month, conform(months, CoreClosedMonths), CoreClosedMonths, signature)
    return sorted(lines)


def under_contract(rows: pl.DataFrame, contract: type[pa.DataFrameModel], where: str) -> pl.DataFrame:
    """Rows of an earlier day under the contract of today: columns that joined since are NULL.

    Raises ContractError for a column that may not be NULL and was not there, and for one that is no more: what becomes
    of signed numbers is not for a default to decide.
    """
    columns = contract.to_schema().columns
    missing = [name for name, column in columns.items() if name not in rows.columns and not column.nullable]
    unknown = [name for name in rows.columns if name not in columns]
    if missing or unknown:
        raise ContractError(
            f"signed rows do not fit the contract of today: {', '.join(missing + unknown)}",
            where=where,
            expected="a new column of a frozen table may be NULL, and no column of it ever goes",
            next_move="state in pipelines/core/closed_journal.py what the column means for months closed before",
        )
    return conform(rows, contract)


def _take_over(settings: Settings, lake: Lake) -> None:
    """Closes that only the lake knows: their rows byte for byte, then their line."""
    for month, partition in lake.partitions(CLOSED_MONTHS).items():
        told = lake.read(CLOSED_MONTHS, partition.key)
        signed = lake.path(CLOSED_COSTS, month)
        if _line_path(settings, month).exists() or told is None or not signed.exists():
            continue
        line = told.row(0, named=True)
        if file_sha256(signed) != line["closed_costs_sha256"]:
            continue
        _write_bytes(_rows_path(settings, month), signed.read_bytes())
        _write_line(settings, {**line, "closed_at": line["closed_at"].isoformat()})


def _lines(settings: Settings) -> dict[str, dict[str, str]]:
    folder = settings.closed
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _write_line(settings: Settings, line: dict[str, str]) -> None:
    text = json.dumps(line, indent=2, sort_keys=True) + "\n"
    _write_bytes(_line_path(settings, line["month"]), text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    replace_durably(path, lambda aside: aside.write_bytes(content))


def _rows_path(settings: Settings, month: str) -> Path:
    return settings.closed / f"{month}.parquet"


def _line_path(settings: Settings, month: str) -> Path:
    return settings.closed / f"{month}.json"
