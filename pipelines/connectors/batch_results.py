"""What the result files of OpenAI's and Anthropic's batch APIs have in common.

What lives here: the instant of a file whose lines carry none, the last steps from lines to rows. What does not: either
API's lines (openai_batch.py, anthropic_batch.py).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import PurePosixPath

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, canonical_usage
from pipelines.connectors.native.usage import FAULTS, read_usage
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.reading.tag_text import MAX_VALUE_LENGTH
from pipelines.errors import FileRejectedError

_DAY = re.compile(r"(?<!\d)(20\d{2}-\d{2}-\d{2})(?!\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def file_instant(file: LandedFile) -> datetime:
    """When the calls of a file count, where its lines do not say: 00:00 UTC of the day in its name, else its folders.

    The day is written YYYY-MM-DD; the part nearest to the file name wins. Without one it is the modification time.
    Raises FileRejectedError `missing_timestamp` when that is unknown too.
    """
    for part in reversed(PurePosixPath(file.relative_path.replace("\\", "/")).parts):
        for found in reversed(_DAY.findall(part)):
            try:
                return datetime.combine(date.fromisoformat(found), time(), UTC)
            except ValueError:
                continue
    if file.modified_ns <= 0:
        raise FileRejectedError(
            "the batch results carry no time of their own",
            code="missing_timestamp",
            where=file.relative_path,
            expected="a day written YYYY-MM-DD in the file name or a folder, or a modification time",
            next_move="rename the file to contain the day on which the batch completed",
        )
    return _EPOCH + timedelta(microseconds=file.modified_ns // 1_000)


def batch_of(lines: pl.DataFrame, *, is_billed: pl.Expr, is_known: pl.Expr) -> Batch:
    """Rows of the billed lines at the batch tier; the other known ones carry no usage; the rest are rejected.

    `lines` has the columns of the JSON-lines reader and `started_at`, `provider`, `model`, `request_id`, `custom_id`
    and `usage` (a struct of USAGE_SHAPE, or NULL). `custom_id`, the only word of the customer's own, becomes a tag.
    """
    legible, rejected = split_faults(lines, [*JSON_FAULTS, Fault(~is_known, "unknown_result")])
    billed = legible.filter(is_billed.fill_null(False))
    good, more = split_faults(
        billed,
        [
            Fault(pl.col("started_at").is_null(), "missing_timestamp", "started_at"),
            Fault(pl.col("model").is_null(), "missing_model", "model"),
            Fault(pl.col("usage").is_null(), "missing_usage", "usage"),
        ],
    )
    rows = read_usage(good)
    worst = pl.col("fault").max().over("record_number")
    whole = rows.with_columns(fault=worst).unique("record_number", keep="first", maintain_order=True)
    _, faulty = split_faults(whole, [Fault(pl.col("fault") == code, code, "usage") for code in FAULTS])
    is_tag = (pl.col("custom_id").str.len_chars() > 0) & (pl.col("custom_id").str.len_chars() <= MAX_VALUE_LENGTH)
    tags = pl.when(is_tag).then(pl.struct("custom_id").struct.json_encode())
    rows = rows.filter(worst.is_null())
    rows = rows.with_columns(service_tier=pl.lit("batch"), region=pl.col("usage_region"), tags=tags)
    return Batch(
        usage=canonical_usage(rows), rejected=[*rejected, *more, *faulty], not_usage=len(legible) - len(billed)
    )
