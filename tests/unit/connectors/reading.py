"""Reading one file through a log connector in tests, with the accounting law checked on every reading.

What lives here: `land`, `Reading`, `read_log`. What does not: any expected value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.connectors.base import REJECT_SCHEMA, USAGE_SCHEMA, Connector, LandedFile


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


def read_log(connector: Connector, file: LandedFile) -> Reading:
    """Read `file` whole. Fails when a frame has another schema, or when a record is counted twice or not at all."""
    usage, rejected, not_usage = pl.DataFrame(schema=USAGE_SCHEMA), pl.DataFrame(schema=dict(REJECT_SCHEMA)), 0
    for batch in connector.read(file):
        if batch.usage is not None:
            assert batch.usage.schema == pl.Schema(USAGE_SCHEMA)
            usage = pl.concat([usage, batch.usage])
        rejected = pl.concat([rejected, *batch.rejected])
        not_usage += batch.not_usage
    rows, bad = set(usage["record_number"]), set(rejected["record_number"])
    assert usage.select("record_number", "part").is_duplicated().sum() == 0
    assert connector.count_records(file) == len(rows | bad) + not_usage
    return Reading(usage, rejected, not_usage)
