"""Reading one usage or cost export in tests, with the accounting law and the contract checked on every reading.

What lives here: `land_bytes`, `MoneyReading`, `read_money`. What does not: any expected value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from pipelines.connectors.base import (
    BILLING_SCHEMA,
    BUCKET_SCHEMA,
    PROVIDER_USAGE_SCHEMA,
    REJECT_SCHEMA,
    Connector,
    LandedFile,
)
from pipelines.contracts.billing import CoreBilling
from pipelines.contracts.fields import breaches, conform
from pipelines.contracts.usage import CoreFetchedBuckets, CoreProviderUsage

LANDED = "0123456789abcdef"


def land_bytes(
    folder: Path, source: str, content: bytes | str, *, account: str = "default", name: str = "x"
) -> LandedFile:
    """A landed file of exactly these bytes."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return LandedFile(source, path, f"{source}/{name}", LANDED, account)


def land_json(folder: Path, source: str, document: Any, **keywords: Any) -> LandedFile:
    """A landed file of one JSON document."""
    return land_bytes(folder, source, json.dumps(document), **keywords)


@dataclass(frozen=True)
class MoneyReading:
    """Everything that one file gave."""

    usage: pl.DataFrame
    billing: pl.DataFrame
    buckets: pl.DataFrame
    rejected: pl.DataFrame
    broken: list[tuple[str, str]]

    @property
    def reasons(self) -> list[tuple[int, str, str | None]]:
        """(record number, reason code, column) of the rejects, in record order."""
        return self.rejected.sort("record_number").select("record_number", "reason_code", "column").rows()

    @property
    def days(self) -> list[tuple[str, str, bool]]:
        """(account, first second of the bucket, complete) of the covered buckets, sorted."""
        starts = pl.col("bucket_start").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("start")
        return self.buckets.select("account", starts, "is_complete").sort("account", "start").rows()

    def text(self) -> str:
        """Every frame as JSON, to search for what must not be there."""
        return "".join(frame.write_ndjson() for frame in (self.usage, self.billing, self.buckets, self.rejected))


def read_money(connector: Connector, file: LandedFile) -> MoneyReading:
    """Read `file` whole. Fails when a frame has another schema, or when a record is counted twice or not at all.

    `broken` lists (column, rule) of rows that the contract would quarantine.
    """
    usage, billing = pl.DataFrame(schema=PROVIDER_USAGE_SCHEMA), pl.DataFrame(schema=BILLING_SCHEMA)
    buckets, rejected = pl.DataFrame(schema=BUCKET_SCHEMA), pl.DataFrame(schema=dict(REJECT_SCHEMA))
    not_usage = 0
    for batch in connector.read(file):
        usage = pl.concat([usage, *([] if batch.provider_usage is None else [batch.provider_usage])])
        billing = pl.concat([billing, *([] if batch.billing is None else [batch.billing])])
        buckets = pl.concat([buckets, *([] if batch.fetched_buckets is None else [batch.fetched_buckets])])
        rejected = pl.concat([rejected, *batch.rejected])
        not_usage += batch.not_usage
    rows, bad = set(usage["record_number"]) | set(billing["record_number"]), set(rejected["record_number"])
    assert not rows & bad
    assert rejected["record_number"].is_duplicated().sum() == 0
    assert connector.count_records(file) == len(rows | bad) + not_usage
    broken = _broken(usage, CoreProviderUsage, "bucket_start") + _broken(billing, CoreBilling, "charge_period_start")
    assert _broken(buckets, CoreFetchedBuckets, None) == []
    return MoneyReading(usage, billing, buckets, rejected, broken)


def _broken(frame: pl.DataFrame, contract: type[pa.DataFrameModel], time: str | None) -> list[tuple[str, str]]:
    full = frame.with_columns(source=pl.lit("s"), landed_file=pl.lit(LANDED))
    if time:
        full = full.with_columns(pl.col(time).dt.date().alias("usage_date"))
    found = breaches(contract, conform(full, contract))
    return sorted(set(found.select("column", "rule").rows()))
