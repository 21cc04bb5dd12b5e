"""Claude Code session files (`~/.claude/projects/<project>/<session>.jsonl` and those of its subagents).

What lives here: the connector of landing/claude_code/. What does not: the arithmetic of Anthropic's usage object
(native/anthropic.py), Claude Code's analytics API and telemetry.

A row is written per content block, so one message repeats with the same id, and early rows hold placeholder counts:
the row with the largest total stays, at the first time seen, in whatever file (session_files.py). `message.id` alone
is the key, because gateways drop `requestId` and side chains replay a message under a new one. Only assistant rows
with usage are calls; user, system, summary, progress and result rows, and the tool's own `<synthetic>` messages carry
none. `costUSD` is a client-side estimate and is ignored. Paths, branches and texts are never read, so there is no
feature: rules in features.csv match the source or the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, Role, Together, canonical_usage, service_tier
from pipelines.connectors.native.anthropic import ANTHROPIC_SHAPE
from pipelines.connectors.native.usage import read_usage
from pipelines.connectors.reading.instants import parse_instants
from pipelines.connectors.reading.json_documents import count_lines
from pipelines.connectors.reading.json_lines import FLAG, NUMBER, TEXT, Shape, lines_of_each, read_clean_files
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.session_files import SESSION_MERGE, copy_rank, read_session
from pipelines.quantities import LEAF_COLUMNS

_USAGE: Shape = {
    "input_tokens": NUMBER,
    "output_tokens": NUMBER,
    "output_tokens_details": {"thinking_tokens": NUMBER},
    **ANTHROPIC_SHAPE,
}
SHAPE: Shape = {
    "type": TEXT,
    "timestamp": TEXT,
    "sessionId": TEXT,
    "requestId": TEXT,
    "isSidechain": FLAG,
    "message": {"id": TEXT, "model": TEXT, "role": TEXT, "usage": _USAGE},
}
_SYNTHETIC = "<synthetic>"
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class ClaudeCode:
    """Claude Code's own session logs."""

    source = "claude_code"
    role: Role = "log"
    merge = SESSION_MERGE
    together = ("",)

    def count_records(self, file: LandedFile) -> int:
        """Non-blank lines."""
        return count_lines(file.path)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch. Raises FileRejectedError for a file that is too large to be one session."""
        session = read_session(file, SHAPE)
        if not session.is_empty():
            yield _batch(session.with_columns(pl.lit(0, dtype=pl.Int64).alias("file_number")))

    def read_together(self, files: Sequence[LandedFile]) -> Together | None:
        """Sessions are many and small: what is done to one costs more than reading it."""
        sessions = read_clean_files([file.path for file in files], SHAPE)
        if sessions is None:
            return None
        batch = _batch(sessions)
        if not isinstance(batch.usage, pl.DataFrame) or batch.usage["request_id"].null_count():
            return None
        return Together(batch, lines_of_each(sessions, len(files)))


def _batch(session: pl.DataFrame) -> Batch:
    """session: of one file or of several, told apart by `file_number`."""
    message = pl.col("message").struct
    frame = session.with_columns(
        message.field("id").replace("", None).alias("message_id"),
        message.field("model").replace("", None).alias("model"),
        message.field("role").alias("role"),
        message.field("usage").alias("usage"),
        parse_instants(session["timestamp"]).alias("started_at"),
    )
    counted = pl.any_horizontal(pl.col("usage").struct.field(name).is_not_null() for name in _COUNTS)
    kind = pl.coalesce("type", "role")
    is_call = (
        (kind == "assistant")
        & (counted | pl.col("type_error").is_not_null())
        & (pl.col("model") != _SYNTHETIC).fill_null(True)
    )
    calls = frame.filter(pl.col("is_malformed") | is_call.fill_null(False))
    good, rejected = split_faults(calls, (*JSON_FAULTS, *_FAULTS))
    read, uneven = split_faults(_counted(good), _USAGE_FAULTS)
    return Batch(
        usage=canonical_usage(_named(read)),
        rejected=[*rejected, *uneven],
        not_usage=len(frame) - len(calls),
    )


_FAULTS: tuple[Fault, ...] = (
    Fault(pl.col("timestamp").is_null(), "missing_timestamp", "timestamp"),
    Fault(pl.col("started_at").is_null(), "bad_timestamp", "timestamp"),
    Fault(pl.col("model").is_null(), "missing_model", "message"),
)
_USAGE_FAULTS: tuple[Fault, ...] = (Fault(pl.col("fault").is_not_null(), "bad_token_count", "message"),)


def _counted(good: pl.DataFrame) -> pl.DataFrame:
    """Rows per message and model, with Anthropic's leaves. A fault in one part is a fault of the whole record."""
    named = good.with_columns(pl.lit("anthropic").alias("provider")).drop("message", "type", "role", "timestamp")
    read = read_usage(named, family="anthropic")
    return read.with_columns(pl.col("fault").drop_nulls().first().over("record_number"))


def _named(read: pl.DataFrame) -> pl.DataFrame:
    key = pl.coalesce("message_id", pl.col("requestId").replace("", None))
    is_side = pl.col("isSidechain").fill_null(False)
    total = pl.sum_horizontal(LEAF_COLUMNS).sum().over("record_number")
    first_seen = (
        pl.when(key.is_null()).then(pl.col("started_at")).otherwise(pl.col("started_at").min().over(key, "file_number"))
    )
    ranked = read.with_columns(
        key.alias("request_id"),
        pl.col("sessionId").replace("", None).alias("session_id"),
        service_tier(pl.col("usage_tier")).alias("service_tier"),
        pl.col("usage_region").alias("region"),
        pl.when(is_side).then(pl.lit('{"is_sidechain":"true"}')).alias("tags"),
        first_seen.alias("started_at"),
        total.alias("total"),
    )
    return ranked.with_columns(copy_rank(pl.col("total"), pl.col("started_at"), ~is_side).alias("merge_rank"))


CONNECTOR = ClaudeCode()
