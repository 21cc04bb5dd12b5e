"""Reading one file through a log connector in tests, with the accounting law checked on every reading.

What lives here: `land`, `Reading`, `read_log`, `usage_frame`. What does not: any expected value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.connectors.base import REJECT_SCHEMA, USAGE_SCHEMA, Connector, LandedFile
from pipelines.pieces import Piece
from pipelines.quantities import METERS


def land(path: Path, source: str, *, mapping: str | None = None, account: str = "default") -> LandedFile:
    """A landed file as the intake would hand it over."""
    return LandedFile(source, path, f"{source}/{path.name}", "0123456789abcdef", account, 0, mapping)


@dataclass(frozen=True)
class Reading:
    """All rows, rejects and the count of records without usage that one file gave."""

    usage: pl.DataFrame
    rejected: pl.DataFrame
    not_usage: int

    @property
    def reasons(self) -> list[tuple[int, str, str | None]]:
        """(record number, reason code, column) of the rejects, in record order."""
        return self.rejected.sort("record_number").select("record_number", "reason_code", "column").rows()

    def column(self, name: str) -> list[object]:
        """One column of the usage rows, in record and part order."""
        return self.usage.sort("record_number", "part")[name].to_list()

    def total(self, name: str) -> int:
        """Sum of one column of the usage rows."""
        return int(self.usage[name].sum())

    def text(self) -> str:
        """Every frame as JSON, to search for what must not be there."""
        return self.usage.write_ndjson() + self.rejected.write_ndjson()


def usage_frame(usage: pl.DataFrame | Piece) -> pl.DataFrame:
    """A batch's rows in full, in the schema that was promised; meters that a piece leaves out are NULL."""
    if isinstance(usage, Piece):
        absent = [name for name in METERS if name not in usage.columns]
        rows = usage.frame([name for name in USAGE_SCHEMA if name not in absent])
        usage = rows.with_columns(pl.lit(None, dtype=USAGE_SCHEMA[name]).alias(name) for name in absent)
        usage = usage.select(list(USAGE_SCHEMA))
    assert usage.schema == pl.Schema(USAGE_SCHEMA)
    return usage


def read_log(connector: Connector, file: LandedFile) -> Reading:
    """Read `file` whole. Fails when a frame has another schema, or when a record is counted twice or not at all."""
    usage, rejected, not_usage = pl.DataFrame(schema=USAGE_SCHEMA), pl.DataFrame(schema=dict(REJECT_SCHEMA)), 0
    for batch in connector.read(file):
        if batch.usage is not None:
            usage = pl.concat([usage, usage_frame(batch.usage)])
        rejected = pl.concat([rejected, *batch.rejected])
        not_usage += batch.not_usage
    rows, bad = set(usage["record_number"]), set(rejected["record_number"])
    assert usage.select("record_number", "part").is_duplicated().sum() == 0
    assert connector.count_records(file) == len(rows | bad) + not_usage
    return Reading(usage, rejected, not_usage)
