"""Contracts of the request side: what logs and provider usage APIs become.

What lives here: core__usage, core__meters, core__provider_usage, core__duplicates, core__quarantine, core__landed_files
and core__fetched_buckets. What does not: bills (billing.py), reference tables (reference.py), marts (marts.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import (
    FIRST_DAY,
    LAST_DAY,
    STATUSES,
    Attribution,
    Instant,
    PriceKey,
    Provenance,
    Quantity,
    TokenLeaves,
    Usd,
)


class CoreUsage(Provenance, PriceKey, TokenLeaves, Attribution):
    """One row per billable request (one per model where one response ran several). Sum freely: each call counts once.

    `request_id` is the log's own id, or `content:<hash>:<n>` where it has none. `requests` is 1, 0 for the further rows
    of
    one response, or n for a log that is already aggregated. `user_id` is a keyed hash. `reported_cost_usd` is what the
    provider itself said the call cost, NULL where it said nothing.
    """

    usage_date: pl.Date = pa.Field(ge=FIRST_DAY, le=LAST_DAY)
    part: pl.Int32 = pa.Field(ge=0)
    request_id: str = pa.Field(str_length={"min_value": 1, "max_value": 512})
    started_at: Instant
    user_id: str = pa.Field(nullable=True)
    status: str = pa.Field(isin=STATUSES)
    requests: pl.Int64 = pa.Field(ge=0)
    reported_cost_usd: Usd = pa.Field(nullable=True)
    merge_rank: pl.Int64

    class Config:
        strict = True
        ordered = False


class CoreMeters(Provenance, PriceKey, Attribution):
    """One row per request and non-token meter (quantities.METERS). Same call, same keys as core__usage."""

    usage_date: pl.Date
    part: pl.Int32 = pa.Field(ge=0)
    request_id: str
    started_at: Instant
    meter: str
    quantity: Quantity = pa.Field(gt=0)

    class Config:
        strict = True
        ordered = False


class CoreProviderUsage(Provenance, PriceKey, TokenLeaves):
    """One row per bucket and group of a provider's own usage API. Never add it to core__usage: same tokens, other
    witness.

    `account` is `*` where the export was not grouped by account ("any account"); `model` is `*` where it was not
    grouped by model. `meter` and `quantity` hold non-token results (searches, images), NULL on token rows.
    """

    usage_date: pl.Date
    bucket_start: Instant
    bucket_end: Instant
    result_kind: str
    api_key_id: str = pa.Field(nullable=True)
    context_band: str = pa.Field(nullable=True)
    requests: pl.Int64 = pa.Field(nullable=True, ge=0)
    meter: str = pa.Field(nullable=True)
    quantity: Quantity = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class CoreFetchedBuckets(pa.DataFrameModel):
    """One row per file, account and bucket that a provider export covers, empty buckets included: missing is not zero.

    `result_kind` separates endpoints of one export. `is_complete` is false where the fetch was cut short.
    """

    source: str
    landed_file: str
    provider: str
    account: str
    result_kind: str
    bucket_start: Instant
    bucket_end: Instant
    is_complete: pl.Boolean

    class Config:
        strict = True
        ordered = False


class CoreDuplicates(pa.DataFrameModel):
    """One row per record part that counts elsewhere: `fate` is `duplicate` (same content) or `superseded` (other
    content)."""

    usage_date: pl.Date
    source: str
    landed_file: str
    record_number: pl.Int64
    part: pl.Int32
    provider: str
    request_id: str
    fate: str = pa.Field(isin=("duplicate", "superseded"))
    kept_file: str
    kept_record_number: pl.Int64

    class Config:
        strict = True
        ordered = False


class CoreQuarantine(pa.DataFrameModel):
    """One row per record (part) that broke a rule. No free text: codes, names and numbers only.

    `rule` names the contract rule or the reader's reason; `column` is NULL where no single column is to blame.
    """

    source: str
    landed_file: str
    record_number: pl.Int64
    part: pl.Int32
    reason_code: str = pa.Field(str_matches=r"^[a-z0-9_]+$")
    column: str = pa.Field(nullable=True)
    rule: str = pa.Field(nullable=True)
    usage_date: pl.Date = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False


class CoreLandedFiles(pa.DataFrameModel):
    """One row per landed file version: the file ledger. records = accepted + quarantined + duplicate + superseded +
    not_usage.

    `landed_file` is derived from source, account folder, bytes and mapping; `status` is ingested, duplicate (same bytes
    already landed), rejected (with `reason_code`) or retracted (new bytes came at the same path). `not_usage` counts
    records that carry no usage by the source's own definition (user turns of an agent log, parent spans).
    """

    landed_file: str
    source: str
    relative_path: str
    account: str
    sha256: str
    size_bytes: pl.Int64
    modified_at: Instant
    landed_at: Instant
    status: str = pa.Field(isin=("ingested", "duplicate", "rejected", "retracted"))
    reason_code: str = pa.Field(nullable=True)
    reason: str = pa.Field(nullable=True)
    records: pl.Int64 = pa.Field(ge=0)
    accepted: pl.Int64 = pa.Field(ge=0)
    quarantined: pl.Int64 = pa.Field(ge=0)
    duplicate: pl.Int64 = pa.Field(ge=0)
    superseded: pl.Int64 = pa.Field(ge=0)
    not_usage: pl.Int64 = pa.Field(ge=0)
    first_day: pl.Date = pa.Field(nullable=True)
    last_day: pl.Date = pa.Field(nullable=True)

    class Config:
        strict = True
        ordered = False
