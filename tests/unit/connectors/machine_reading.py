"""Reading one file of telemetry or cost allocations in tests, with the accounting law and the contract checked every
time.

What lives here: `read_machines`. What does not: any expected value.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipelines.connectors.base import INFRASTRUCTURE_SCHEMA, REJECT_SCHEMA, Connector, LandedFile
from pipelines.contracts.fields import breaches, conform
from pipelines.contracts.infrastructure import CoreInfrastructureSamples


@dataclass(frozen=True)
class MachineReading:
    """All rows and rejects of one file, and the count of records without usage."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    not_usage: int

    @property
    def reasons(self) -> list[tuple[int, str]]:
        """(record number, reason code) in record order."""
        return self.rejected.sort("record_number").select("record_number", "reason_code").rows()

    def text(self) -> str:
        """Every frame as JSON, to search for what must not be there."""
        return self.rows.write_ndjson() + self.rejected.write_ndjson()


def read_machines(connector: Connector, file: LandedFile) -> MachineReading:
    """Read `file` whole. Fails when a row breaks the contract, or a record is counted twice or not at all."""
    rows, rejected, not_usage = pl.DataFrame(schema=INFRASTRUCTURE_SCHEMA), pl.DataFrame(schema=dict(REJECT_SCHEMA)), 0
    for batch in connector.read(file):
        assert batch.infrastructure is not None
        assert batch.infrastructure.schema == pl.Schema(INFRASTRUCTURE_SCHEMA)
        rows = pl.concat([rows, batch.infrastructure])
        rejected = pl.concat([rejected, *batch.rejected])
        not_usage += batch.not_usage
    whole = rows.with_columns(
        pl.lit(file.source).alias("source"),
        pl.lit(file.landed_file).alias("landed_file"),
        pl.col("sampled_at").dt.date().alias("usage_date"),
    )
    assert not len(breaches(CoreInfrastructureSamples, conform(whole, CoreInfrastructureSamples)))
    told, bad = set(rows["record_number"]), set(rejected["record_number"])
    assert not told & bad
    assert connector.count_records(file) == len(told | bad) + not_usage
    return MachineReading(rows, rejected, not_usage)
