"""openai_batch: output and error files of OpenAI's Batch API, JSON lines.

A line is `{"id", "custom_id", "response": {"status_code", "request_id", "body": {…, "usage"}}, "error"}`. What lives
here: those lines. What does not: the usage object (native/usage.py).

Only answered requests (status 200, no error) are billed; failed, expired and cancelled ones carry no usage. Everything
is priced at the batch tier, whatever tier the body names. A call counts when its body was created (`created`,
`created_at`); an embedding, whose body has no time, at the file's own (batch_results.file_instant).
Source: OpenAI Batch API reference.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role
from pipelines.connectors.batch_results import batch_of, file_instant
from pipelines.connectors.native.usage import USAGE_SHAPE
from pipelines.connectors.reading.instants import INSTANT, instants_from_numbers
from pipelines.connectors.reading.json_documents import count_lines
from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape, read_json_lines

_BODY: Shape = {"id": TEXT, "model": TEXT, "created": TEXT, "created_at": TEXT, "usage": USAGE_SHAPE}
_LINE: Shape = {
    "id": TEXT,
    "custom_id": TEXT,
    "response": {"status_code": NUMBER, "body": _BODY},
    "error": {"code": TEXT},
}


class OpenAIBatch:
    """The connector of landing/openai_batch/. A batch downloaded twice counts once, wherever it lies."""

    source = "openai_batch"
    role: Role = "log"
    merge = MergeRule(window="global")

    def count_records(self, file: LandedFile) -> int:
        """Non-blank lines, counted in binary blocks."""
        return count_lines(file.path)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of bounded size, in the order of the file."""
        for chunk in read_json_lines(file.path, _LINE):
            yield _batch(chunk, file)


CONNECTOR = OpenAIBatch()


def _batch(chunk: pl.DataFrame, file: LandedFile) -> Batch:
    body = pl.col("response").struct.field("body").struct
    lines = chunk.with_columns(
        started_at=pl.coalesce(body.field("created"), body.field("created_at")),
        provider=pl.lit("openai"),
        model=body.field("model"),
        request_id=pl.coalesce(body.field("id"), pl.col("id")),
        usage=body.field("usage"),
        status_code=pl.col("response").struct.field("status_code"),
        error_code=pl.col("error").struct.field("code"),
        is_error=pl.col("error").is_not_null(),
    ).drop("response", "error")
    created = instants_from_numbers(lines["started_at"], "seconds")
    is_billed = (pl.col("status_code") == 200) & ~pl.col("is_error")
    if created.null_count():
        is_undated = (lines["status_code"] == 200).fill_null(False) & created.is_null()
        if is_undated.any():
            created = created.fill_null(pl.Series([file_instant(file)], dtype=INSTANT).item())
    lines = lines.with_columns(started_at=created)
    return batch_of(lines, is_billed=is_billed, is_known=pl.col("status_code").is_not_null() | pl.col("is_error"))
