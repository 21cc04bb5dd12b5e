"""What a connector is, and the shared words of the ones that read logs, usage APIs and bills.

What lives here: LandedFile, Batch, MergeRule, the Connector protocol, canonical-frame builders and reject builders.
What does not: any source's format (one file each beside this one), the run that drives them
(pipelines/intake/staging.py).
A connector only reads the fields it names (an allow-list): prompts, completions and names never leave the raw file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import polars as pl

from pipelines.connectors.reading.few_words import once_per_word, snake_case
from pipelines.contracts.billing import CoreBilling
from pipelines.contracts.fields import DEFAULT_ACCOUNT, UNSPECIFIED_REGION, polars_schema
from pipelines.contracts.infrastructure import CoreInfrastructureSamples
from pipelines.contracts.usage import CoreFetchedBuckets, CoreProviderUsage, CoreUsage
from pipelines.pieces import Piece
from pipelines.quantities import METERS, TOKEN_COLUMNS

Role = Literal["log", "provider_usage", "bill", "infrastructure", "outcomes"]


@dataclass(frozen=True)
class LandedFile:
    """One file to read. `path` holds plain bytes (already decompressed, BOM removed); the rest says where it came from.

    `account` is the first sub-folder below landing/<source>/, else `default`. `mapping` is the text of the mapping.toml
    beside the file, if any.
    """

    source: str
    path: Path
    relative_path: str
    landed_file: str
    account: str = DEFAULT_ACCOUNT
    modified_ns: int = 0
    mapping: str | None = None


@dataclass(frozen=True)
class MergeRule:
    """How several rows of one request become one. Applied by transforms/deduplication.py.

    window: `neighbours` looks for the same key on the event's UTC day and the days beside it, `global` everywhere.
    on_conflict: what happens when the key is the same and the content is not: `quarantine` (the earliest row stays,
    others
    become `key_conflict`) or `largest_rank` (the row with the largest `merge_rank` stays, others are superseded).
    """

    window: Literal["neighbours", "global"] = "neighbours"
    on_conflict: Literal["quarantine", "largest_rank"] = "quarantine"


REJECT_SCHEMA: Mapping[str, pl.DataType] = {
    "record_number": pl.Int64(),
    "part": pl.Int32(),
    "reason_code": pl.String(),
    "column": pl.String(),
    "rule": pl.String(),
}


def rejects(
    frame: pl.DataFrame, reason_code: str, *, column: str | None = None, rule: str | None = None
) -> pl.DataFrame:
    """Quarantine entries for all rows of `frame` (needs `record_number`), with one reason."""
    part = pl.col("part") if "part" in frame.columns else pl.lit(0)
    return frame.select(
        pl.col("record_number").cast(pl.Int64),
        part.cast(pl.Int32).alias("part"),
        pl.lit(reason_code).alias("reason_code"),
        pl.lit(column, dtype=pl.String).alias("column"),
        pl.lit(rule, dtype=pl.String).alias("rule"),
    )


@dataclass
class Batch:
    """One bounded piece of what a file holds. Any frame may be absent.

    `usage` has the columns of USAGE_SCHEMA (a piece may leave out meters), `provider_usage`, `billing`,
    `fetched_buckets` and `infrastructure` (samples of machines) those of their contracts without provenance (`source`,
    `landed_file`, added by the intake). `rejected` has REJECT_SCHEMA. `not_usage` counts records that carry no usage by
    the source's own definition.
    """

    usage: pl.DataFrame | Piece | None = None
    provider_usage: pl.DataFrame | None = None
    billing: pl.DataFrame | None = None
    fetched_buckets: pl.DataFrame | None = None
    infrastructure: pl.DataFrame | None = None
    rejected: list[pl.DataFrame] = field(default_factory=list)
    not_usage: int = 0


@dataclass(frozen=True)
class Together:
    """What several small files hold, read at once: record numbers of `batch` count through all of them, `records` says
    how many each has. `batch.not_usage` is not told: what is neither usage nor rejected."""

    batch: Batch
    records: Sequence[int]


class Connector(Protocol):
    """One source. Stateless: the same file always gives the same batches, in the same order."""

    source: str
    role: Role
    merge: MergeRule

    def count_records(self, file: LandedFile) -> int:
        """Records in the file, counted another way than `read` does (invariant 1)."""
        ...

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of bounded size. Raises FileRejectedError when the file as a whole is not what the source
        promises."""
        ...


@runtime_checkable
class ReadsTogether(Protocol):
    """A connector that can also read small files several at a time, as each by itself: for tools that write many. What
    it tells of a file does not depend on the file's folder."""

    together: tuple[str, ...]
    """Endings of the names of files that are worth the attempt; an empty one is that of all."""

    def read_together(self, files: Sequence[LandedFile]) -> Together | None:
        """All of them, or None when each must be read by itself: because of what is wrong with one, or of rows without
        an id."""
        ...


_PROVENANCE = ("source", "landed_file")

USAGE_SCHEMA: dict[str, pl.DataType] = {
    **{name: dtype for name, dtype in polars_schema(CoreUsage).items() if name not in (*_PROVENANCE, "usage_date")},
    **{meter: pl.Decimal(38, 9) for meter in METERS},
}
"""What a log connector fills: core__usage without provenance and day, plus one column per non-token meter.
`user_id` is still the log's own here; the intake hashes it."""

PROVIDER_USAGE_SCHEMA = {
    n: t for n, t in polars_schema(CoreProviderUsage).items() if n not in (*_PROVENANCE, "usage_date")
}
BILLING_SCHEMA = {n: t for n, t in polars_schema(CoreBilling).items() if n not in (*_PROVENANCE, "usage_date")}
INFRASTRUCTURE_SCHEMA = {
    name: dtype
    for name, dtype in polars_schema(CoreInfrastructureSamples).items()
    if name not in (*_PROVENANCE, "usage_date")
}
BUCKET_SCHEMA = {n: t for n, t in polars_schema(CoreFetchedBuckets).items() if n not in _PROVENANCE}

_USAGE_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(TOKEN_COLUMNS, 0),
    "part": 0,
    "requests": 1,
    "merge_rank": 0,
    "account": DEFAULT_ACCOUNT,
    "service_tier": "standard",
    "region": UNSPECIFIED_REGION,
    "status": "success",
}


def canonical(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], defaults: Mapping[str, object]) -> pl.DataFrame:
    """`frame` with exactly the columns of `schema`: absent ones NULL, NULLs filled from `defaults`, dtypes cast
    strictly."""
    present = set(frame.columns)
    columns = []
    for name, dtype in schema.items():
        column = pl.col(name).cast(dtype) if name in present else pl.lit(None, dtype=dtype)
        if name in defaults:
            column = column.fill_null(pl.lit(defaults[name], dtype=dtype))
        columns.append(column.alias(name))
    return frame.select(columns)


def canonical_usage(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of USAGE_SCHEMA: absent token columns are 0, absent identifiers NULL, tier `standard`, account `default`.

    Needs `record_number`, `started_at`, `provider` and `model`; a NULL in one of them is left for the contract to name.
    """
    return canonical(frame, USAGE_SCHEMA, _USAGE_DEFAULTS)


def canonical_piece(rows: pl.DataFrame, words: Mapping[str, pl.Series], constants: Mapping[str, str | None]) -> Piece:
    """The same as a piece: what is absent from `rows` stands in its constants, meters are left out.

    words: texts of the columns of `rows` that hold their numbers. constants: texts that all rows have; None is no text.
    """
    alike = {name: said[0] for name, said in words.items() if _is_one_word(rows, name, said)}
    rows = rows.drop(list(alike))
    texts = {name: series for name, series in words.items() if name in rows.columns}
    varying = []
    for name, dtype in USAGE_SCHEMA.items():
        if name not in rows.columns:
            continue
        column, default = rows[name], _USAGE_DEFAULTS.get(name)
        if name not in texts:
            column = column.cast(dtype)
            varying.append(column if default is None else column.fill_null(default))
        elif default is None or not column.null_count():
            varying.append(column)
        else:
            varying.append(column.fill_null(len(texts[name])))
            texts[name] = pl.concat([texts[name], pl.Series([default], dtype=dtype)])
    absent = [name for name in USAGE_SCHEMA if name not in rows.columns and name not in METERS]
    given = {name: text for name, text in {**constants, **alike}.items() if text is not None}
    same = {name: given.get(name, _USAGE_DEFAULTS.get(name)) for name in absent}
    return Piece(
        pl.DataFrame(varying), pl.DataFrame([pl.Series(n, [v], dtype=USAGE_SCHEMA[n]) for n, v in same.items()]), texts
    )


def _is_one_word(rows: pl.DataFrame, name: str, words: pl.Series) -> bool:
    return name in rows.columns and len(words) == 1 and not rows[name].null_count()


def canonical_provider_usage(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of PROVIDER_USAGE_SCHEMA. Absent tokens are 0; account and model not given are `*` ("any")."""
    defaults = {
        **dict.fromkeys(TOKEN_COLUMNS, 0),
        "account": "*",
        "model": "*",
        "service_tier": "standard",
        "region": UNSPECIFIED_REGION,
    }
    return canonical(frame, PROVIDER_USAGE_SCHEMA, defaults)


def canonical_billing(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of BILLING_SCHEMA. Nothing is filled in but the account (`*`)."""
    return canonical(frame, BILLING_SCHEMA, {"account": "*"})


SERVICE_TIERS: Mapping[str, str] = {
    "default": "standard",
    "auto": "standard",
    "standard": "standard",
    "on_demand": "standard",
    "standard_only": "standard",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "fast": "fast",
    "priority": "priority",
    "flex": "flex",
    "batch": "batch",
    "scale": "scale",
    "provisioned_throughput": "provisioned",
}
"""Provider words for tiers → ours. A word that is not listed stays itself (lower snake case) and is priced only if the
price book knows it: an unknown tier is unpriced and visible, never silently standard."""


def service_tier(expression: pl.Expr) -> pl.Expr:
    """Canonical tier from a provider's word; NULL and empty mean standard."""
    return once_per_word(expression, _tier)


def _tier(said: pl.Expr) -> pl.Expr:
    word = snake_case(said)
    return pl.when(word.is_null() | (word == "")).then(pl.lit("standard")).otherwise(word.replace(SERVICE_TIERS))


def utc_instant(expression: pl.Expr) -> pl.Expr:
    """ISO 8601 text (0–9 fractional digits, `T` or blank, `Z`, offset or naive = UTC) as a UTC instant in microseconds.

    Text that is no instant gives NULL (for the caller to reject); finer digits than microseconds are cut off.
    """
    text = expression.str.strip_chars()
    shape = r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?\s*(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?$"
    day = text.str.extract(shape, 1)
    clock = text.str.extract(shape, 2)
    clock = pl.when(clock.str.len_bytes() == 5).then(clock + ":00").otherwise(clock)
    fraction = text.str.extract(shape, 3).fill_null("").str.pad_end(6, "0").str.slice(0, 6)
    zone = text.str.extract(shape, 4)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    hours = zone.str.extract(r"^[+-](\d{2})", 1).cast(pl.Int64, strict=False).fill_null(0)
    minutes = zone.str.extract(r"^[+-]\d{2}:?(\d{2})", 1).cast(pl.Int64, strict=False).fill_null(0)
    offset = pl.duration(minutes=sign * (hours * 60 + minutes))
    naive = (day + "T" + clock + "." + fraction).str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S%.6f", strict=False)
    return (naive - offset).dt.replace_time_zone("UTC")
