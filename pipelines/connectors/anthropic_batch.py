"""anthropic_batch: result files of Anthropic's Message Batches API, JSON lines.

A line is `{"custom_id", "result": {"type": "succeeded|errored|canceled|expired", "message": {…, "usage"}}}`. What lives
here: those lines. What does not: the usage object (native/usage.py).

Only succeeded results are billed, at the batch tier; the other three carry no usage. Lines have no time, so a whole
file counts at its own (batch_results.file_instant): put the day on which the batch ended into its name.
Source: Anthropic Message Batches API reference.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role
from pipelines.connectors.batch_results import batch_of, file_instant
from pipelines.connectors.native.usage import USAGE_SHAPE
from pipelines.connectors.reading.instants import INSTANT
from pipelines.connectors.reading.json_documents import count_lines
from pipelines.connectors.reading.json_lines import TEXT, Shape, read_json_lines

_LINE: Shape = {
    "custom_id": TEXT,
    "result": {"type": TEXT, "message": {"id": TEXT, "model": TEXT, "usage": USAGE_SHAPE}},
}
_RESULTS = ("succeeded", "errored", "canceled", "expired")


class AnthropicBatch:
    """The connector of landing/anthropic_batch/. A batch downloaded twice counts once, wherever it lies."""

    source = "anthropic_batch"
    role: Role = "log"
    merge = MergeRule(window="global")

    def count_records(self, file: LandedFile) -> int:
        """Non-blank lines, counted in binary blocks."""
        return count_lines(file.path)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of bounded size, in the order of the file."""
        for chunk in read_json_lines(file.path, _LINE):
            yield _batch(chunk, file)


CONNECTOR = AnthropicBatch()


def _batch(chunk: pl.DataFrame, file: LandedFile) -> Batch:
    result = pl.col("result").struct
    message = result.field("message").struct
    lines = chunk.with_columns(
        started_at=pl.lit(file_instant(file), dtype=INSTANT),
        provider=pl.lit("anthropic"),
        model=message.field("model"),
        request_id=message.field("id"),
        usage=message.field("usage"),
        result_type=result.field("type"),
    ).drop("result")
    kind = pl.col("result_type")
    return batch_of(lines, is_billed=kind == "succeeded", is_known=kind.is_in(_RESULTS).fill_null(False))
