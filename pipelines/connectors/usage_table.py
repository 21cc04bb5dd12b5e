"""Request logs that are already tables: CSV, Parquet or JSON in the columns of core__usage, or mapped to them.

What lives here: the connector of landing/usage_table/. What does not: the mapping's words (column_mapping.py), formats
(usage_files.py), values (usage_columns.py).

Needed: `started_at`, `provider`, `model` and one token column, by these names or through a mapping.toml beside the file
(see column_mapping.py for its words). Columns that are not known are ignored. A CSV line with too few or too many
fields is rejected as `malformed_csv` and the rest goes on. Naive times are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role, Together
from pipelines.connectors.column_mapping import ColumnMapping, read_mapping
from pipelines.connectors.reading.record_faults import JSON_FAULTS
from pipelines.connectors.usage_columns import usage_rows
from pipelines.connectors.usage_files import count_table_records, read_chunks, read_parquet_together
from pipelines.errors import FileRejectedError

_BARE_NUMBER = r"^\s*\d+(\.\d+)?\s*$"


class UsageTable:
    """Any CSV, Parquet or JSON-lines log, without code."""

    source = "usage_table"
    role: Role = "log"
    merge = MergeRule(window="neighbours", on_conflict="quarantine")
    together = (".parquet",)

    def count_records(self, file: LandedFile) -> int:
        """Rows of the table: Parquet footer, non-blank JSON lines, or CSV lines below the header."""
        return count_table_records(file, read_mapping(file))

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of at most a million rows. Raises FileRejectedError for unusable columns, mapping or bytes."""
        mapping = read_mapping(file)
        first = True
        for chunk in read_chunks(file, mapping):
            if chunk.frame.is_empty():
                yield Batch(rejected=chunk.rejected)
                continue
            if first:
                _refuse_bare_numbers(file, mapping, chunk.frame)
                first = False
            usage, rejected = usage_rows(chunk.frame, mapping, JSON_FAULTS if chunk.is_json else (), chunk.words)
            yield Batch(usage=usage, rejected=[*chunk.rejected, *rejected])

    def read_together(self, files: Sequence[LandedFile]) -> Together | None:
        """Parquet files of one kind: a folder with a file per day or hour."""
        if len({file.mapping for file in files}) > 1:
            return None
        mapping = read_mapping(files[0])
        found = read_parquet_together(files, mapping)
        if found is None:
            return None
        chunk, records = found
        if _may_be_bare_numbers(mapping, chunk.frame):
            return None
        usage, rejected = usage_rows(chunk.frame, mapping, (), chunk.words)
        if "request_id" not in usage.varying.columns or usage.varying["request_id"].null_count():
            return None
        return Together(Batch(usage=usage, rejected=rejected), records)


def _may_be_bare_numbers(mapping: ColumnMapping, frame: pl.DataFrame) -> bool:
    """Whether the times of one of several files could be numbers without a unit: then each is to be judged alone."""
    if "started_at" not in frame.columns or mapping.unit is not None or mapping.time_format is not None:
        return False
    times = frame["started_at"]
    return times.dtype.is_numeric() or (times.dtype == pl.String and bool(times.str.contains(_BARE_NUMBER).any()))


def _refuse_bare_numbers(file: LandedFile, mapping: ColumnMapping, frame: pl.DataFrame) -> None:
    """A time column of numbers needs a unit: seconds read as milliseconds would move a whole log into 1970."""
    if "started_at" not in frame.columns or mapping.unit is not None or mapping.time_format is not None:
        return
    values = frame["started_at"].drop_nulls()
    is_number = values.dtype.is_numeric()
    if values.dtype == pl.String and len(values):
        is_number = values.str.contains(_BARE_NUMBER).all()
    if is_number:
        raise FileRejectedError(
            "the time column holds plain numbers and nothing says their unit",
            code="time_unit_missing",
            where=f"{file.relative_path}, started_at",
            expected="[time] unit (and origin, where the numbers do not count from 1970) in mapping.toml",
            next_move='put a mapping.toml beside the file with, for example:\n[time]\nunit = "seconds"\n',
        )


CONNECTOR = UsageTable()
