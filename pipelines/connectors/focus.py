"""FOCUS cost and usage exports, versions 1.0 to 1.4, CSV or Parquet, of any provider.

What lives here: the file as chunks of text columns, rows and rejects, which days a file covers. What does not: what
the columns of one line mean for providers, units and SKUs (focus_lines.py), exact decimals (exact_decimals.py).

- Columns are told by name, not by version: 1.4 has no ProviderName, so ServiceProviderName stands in; 1.0 has no
  InvoiceId. Names are matched without regard to case. Empty text, `NULL` in any case and blanks alone are NULL.
- Every value is read as text and cast strictly: money to 10⁻¹² (half to even beyond), DOUBLE columns of Parquet
  through their shortest text, so that 0.1 is 0.1. A value that is none rejects its row, not the file.
- Negative usage rows are kept as they are: corrections inside an open period have no ChargeClass.
- A split row (1.3+, AllocatedMethodId set) replaces its origin. Where a file still holds the origin — same resource,
  SKU, period and category, and its costs are the sums of the splits — the origin is rejected as `replaced_by_split`.
- Covered are all UTC days between the first and last charge of a provider and account; days without lines are covered
  and empty. Days of an account with an unreadable line are not complete; a line whose day, provider or account cannot
  be told leaves no day of the file complete.
- Corrections and charges outside their billing period do not widen this: they add to old days, they do not replace
  them. Their days are buckets of a kind of their own (`cost_outside_<billing month>`), never complete, so that a new
  export of that month replaces them and nothing else, and that they alone never make a day look billed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pyarrow.parquet as pq

from pipelines.connectors.base import (
    BILLING_SCHEMA,
    BUCKET_SCHEMA,
    Batch,
    LandedFile,
    MergeRule,
    Role,
    canonical_billing,
    rejects,
)
from pipelines.connectors.focus_lines import COLUMNS, LINE_FAULTS, REQUIRED, canonical_lines
from pipelines.connectors.reading.parquet_frames import DAMAGED
from pipelines.connectors.reading.record_faults import Fault, split_faults
from pipelines.connectors.reading.strict_documents import (
    CHUNK_ROWS,
    CsvChunk,
    count_csv_records,
    read_csv_chunks,
    read_csv_header,
)
from pipelines.contracts.fields import DEFAULT_ACCOUNT
from pipelines.errors import FileRejectedError

RESULT_KIND = "cost"
OUTSIDE_KIND = "cost_outside"

_ORIGIN_KEY = ["ResourceId", "SkuId", "SkuPriceId", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory"]
_COSTS = ["billed_cost_in_currency", "effective_cost_in_currency"]
_REPLACED = "replaced_by_split"
_ONE_DAY = timedelta(days=1)


class Focus:
    """Connector `focus`: one billing row per line; `account` is SubAccountId.

    Without any SubAccountId the account is the sub-folder, or `*`; a single NULL among others is `default`.
    """

    source = "focus"
    role: Role = "bill"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Rows by the Parquet footer, or CSV records counted over binary blocks."""
        if _is_parquet(file):
            return int(_open_parquet(file).metadata.num_rows)
        return count_csv_records(file)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """A batch per chunk of lines; the last one holds the covered days.

        Raises FileRejectedError `missing_columns`, `malformed_parquet`, `malformed_csv`, `empty_file`,
        `bad_encoding`, `duplicate_column`.
        """
        columns = _resolve(file)
        fallback = _account_without_sub_account(file, columns)
        splits = _split_sums(file, columns, fallback)
        coverage = _Coverage()
        for chunk in _chunks(file, columns):
            yield _batch(chunk, fallback, splits, coverage)
        yield Batch(fetched_buckets=coverage.buckets())


def _batch(chunk: CsvChunk, fallback: str, splits: pl.DataFrame | None, coverage: _Coverage) -> Batch:
    lines = canonical_lines(chunk.frame, fallback)
    faults = list(LINE_FAULTS)
    if splits is not None:
        lines = lines.join(splits, on=_ORIGIN_KEY, how="left", nulls_equal=True, maintain_order="left")
        same = pl.all_horizontal(pl.col(cost) == pl.col(f"split_{cost}") for cost in _COSTS)
        faults.append(Fault(pl.col("AllocatedMethodId").is_null() & same, _REPLACED, "AllocatedMethodId"))
    good, rejected = split_faults(lines, faults)
    unreadable = [
        rejects(pl.DataFrame({"record_number": numbers}, schema={"record_number": pl.Int64}), code)
        for numbers, code in ((chunk.ragged, "ragged_row"), (chunk.undecodable, "bad_encoding"))
        if numbers
    ]
    coverage.add(good)
    for refusal in rejected:
        numbers = refusal.filter(pl.col("reason_code") != _REPLACED)["record_number"]
        coverage.spoil(lines.filter(pl.col("record_number").is_in(numbers.implode())))
    coverage.is_spoiled |= bool(unreadable)
    billing = canonical_billing(good.select([name for name in BILLING_SCHEMA if name in good.columns]))
    return Batch(billing=billing, rejected=[*rejected, *unreadable])


@dataclass
class _Coverage:
    """First and last day per provider and account, days of lines outside, and days with an unreadable line."""

    spans: dict[tuple[str, str], tuple[date, date]] = field(default_factory=dict)
    outside: set[tuple[str, str, str, date]] = field(default_factory=set)
    spoiled: set[tuple[str, str, date]] = field(default_factory=set)
    is_spoiled: bool = False

    def add(self, lines: pl.DataFrame) -> None:
        day = pl.col("charge_period_start").dt.date()
        inside = pl.col("charge_class").is_null() & pl.col("is_in_period")
        found = (
            lines.filter(inside).group_by("provider", "account").agg(day.min().alias("first"), day.max().alias("last"))
        )
        for provider, account, first, last in found.iter_rows():
            known = self.spans.get((provider, account), (first, last))
            self.spans[provider, account] = (min(first, known[0]), max(last, known[1]))
        month = pl.col("billing_month").fill_null("unknown")
        self.outside |= set(lines.filter(~inside).select("provider", "account", month, day.alias("day")).iter_rows())

    def spoil(self, lines: pl.DataFrame) -> None:
        places = lines.select("provider", "account", pl.col("charge_period_start").dt.date().alias("day")).unique()
        self.is_spoiled |= any(count > 0 for count in places.null_count().row(0))
        self.spoiled |= set(places.drop_nulls().iter_rows())

    def buckets(self) -> pl.DataFrame:
        rows = []
        for (provider, account), (first, last) in sorted(self.spans.items()):
            for offset in range((last - first).days + 1):
                day = first + offset * _ONE_DAY
                is_complete = not self.is_spoiled and (provider, account, day) not in self.spoiled
                rows.append((provider, account, RESULT_KIND, *_edges(day), is_complete))
        for provider, account, month, day in sorted(self.outside):
            first, last = self.spans.get((provider, account), (date.max, date.min))
            if not first <= day <= last:
                rows.append((provider, account, f"{OUTSIDE_KIND}_{month}", *_edges(day), False))
        return pl.DataFrame(rows, schema=BUCKET_SCHEMA, orient="row")


def _edges(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time(), tzinfo=UTC)
    return start, start + _ONE_DAY


def _resolve(file: LandedFile) -> dict[str, str]:
    """Our name → the file's name of each column that we read. Raises FileRejectedError `missing_columns`."""
    present = _open_parquet(file).schema_arrow.names if _is_parquet(file) else read_csv_header(file)
    by_word = {name.strip().lower(): name for name in reversed(present) if name}
    found = {name: by_word[name.lower()] for name in COLUMNS if name.lower() in by_word}
    missing = [" or ".join(names) for names in REQUIRED if not any(name in found for name in names)]
    if missing:
        raise FileRejectedError(
            f"mandatory FOCUS columns are missing: {', '.join(missing)}",
            code="missing_columns",
            where=file.relative_path,
            expected="a FOCUS 1.0 to 1.4 cost and usage table: Parquet, or CSV with commas and a header line",
            next_move="export with these columns, or land the file below the folder of its own source",
        )
    return found


def _chunks(file: LandedFile, columns: dict[str, str]) -> Iterator[CsvChunk]:
    """Chunks with `record_number` and the columns that we read, trimmed text or NULL, all of COLUMNS present."""
    theirs = {name: ours for ours, name in columns.items()}
    raw = _parquet_chunks(file, list(theirs)) if _is_parquet(file) else read_csv_chunks(file)
    for chunk in raw:
        named = chunk.frame.select("record_number", *theirs).rename(theirs)
        texts = [_text(name) if name in columns else pl.lit(None, dtype=pl.String).alias(name) for name in COLUMNS]
        yield CsvChunk(named.select("record_number", *texts), chunk.ragged, chunk.undecodable)


def _text(name: str) -> pl.Expr:
    trimmed = pl.col(name).str.strip_chars()
    return pl.when(trimmed.str.to_lowercase().is_in(["", "null"]).not_()).then(trimmed).alias(name)


def _account_without_sub_account(file: LandedFile, columns: dict[str, str]) -> str:
    if "SubAccountId" in columns:
        for chunk in _chunks(file, {"SubAccountId": columns["SubAccountId"]}):
            if chunk.frame["SubAccountId"].null_count() < len(chunk.frame):
                return DEFAULT_ACCOUNT
    return file.account if file.account != DEFAULT_ACCOUNT else "*"


def _split_sums(file: LandedFile, columns: dict[str, str], fallback: str) -> pl.DataFrame | None:
    """Costs of all split rows by the key of their origin; None when the file has none. A second pass, only for
    1.3+."""
    if "AllocatedMethodId" not in columns:
        return None
    parts = []
    for chunk in _chunks(file, columns):
        splits = chunk.frame.filter(pl.col("AllocatedMethodId").is_not_null())
        if not splits.is_empty():
            parts.append(canonical_lines(splits, fallback).select(*_ORIGIN_KEY, *_COSTS))
    if not parts:
        return None
    return pl.concat(parts).group_by(_ORIGIN_KEY).agg(pl.col(cost).sum().alias(f"split_{cost}") for cost in _COSTS)


def _is_parquet(file: LandedFile) -> bool:
    with file.path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _open_parquet(file: LandedFile) -> pq.ParquetFile:
    try:
        opened = pq.ParquetFile(file.path)
        opened.schema_arrow.names  # noqa: B018 # damaged names are found when they are read
    except DAMAGED as error:
        raise FileRejectedError(
            "the Parquet file has no readable footer: it was cut short or is damaged",
            code="malformed_parquet",
            where=file.relative_path,
            expected="a whole Parquet file",
            next_move="copy it again; a file that is still being written is taken on the next run",
        ) from error
    return opened


def _parquet_chunks(file: LandedFile, names: list[str]) -> Iterator[CsvChunk]:
    first = 1
    try:
        for batch in _open_parquet(file).iter_batches(batch_size=CHUNK_ROWS, columns=names):
            batch.validate(full=True)
            frame = pl.DataFrame(pl.from_arrow(batch))
            texts = frame.select(_as_text(frame[name]) for name in names)
            numbers = pl.int_range(first, first + len(frame), dtype=pl.Int64, eager=True).alias("record_number")
            first += len(frame)
            yield CsvChunk(texts.with_columns(numbers), [], [])
    except DAMAGED as error:
        raise FileRejectedError(
            "a part of the Parquet file is damaged",
            code="malformed_parquet",
            where=file.relative_path,
            expected="readable column chunks",
            next_move="copy the file again",
        ) from error


def _as_text(column: pl.Series) -> pl.Series:
    """A typed Parquet column as text: floats by their shortest digits, instants as ISO 8601 in UTC, maps as JSON."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        naive = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else column
        return naive.dt.cast_time_unit("us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if dtype == pl.Date:
        return column.dt.strftime("%Y-%m-%d")
    if isinstance(dtype, (pl.List, pl.Struct)):
        texts = [None if value is None else json.dumps(value, default=str) for value in column.to_list()]
        return pl.Series(column.name, texts, dtype=pl.String)
    return column.cast(pl.String)


CONNECTOR = Focus()
