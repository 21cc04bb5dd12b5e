"""Codex CLI rollout files (`~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl`, archived sessions).

What lives here: the connector of landing/codex_cli/. What does not: OpenAI's own usage API or response objects.

Two kinds of records count calls. A `token_usage_record` (since 2026-09) stands for one response and is authoritative:
its `usage` is what that response used, `turn_token_usage` and `thread_token_usage` are cumulative and are not read.
Before the first of them, `token_count` events carry `total_token_usage`, cumulative for the thread: a call is counted
when it advances, by the difference. An event that repeats the same totals, or has no `info` (rate limits only), is no
call. Where nothing precedes (a resumed file) or the totals fall (compaction), `last_token_usage` is the call. Cached
and cache-write tokens are inside input, reasoning inside output; `total_tokens` is not relied upon.

The model is in the event or in the `turn_context` before it. Forks and sub-agents replay the parent's records with new
times: the key is the response id, else the turn (or the oldest session of the lineage that the file names) with the
cumulative counts, so that a replay has the key of the original and the earliest copy stays (session_files.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, Role, canonical_usage, service_tier
from pipelines.connectors.reading.instants import parse_instants
from pipelines.connectors.reading.json_documents import count_lines
from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape
from pipelines.connectors.reading.providers import provider_name
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.reading.whole_counts import settle_counts
from pipelines.connectors.session_files import SESSION_MERGE, copy_rank, read_session
from pipelines.quantities import LEAF_COLUMNS, TOKEN_COLUMNS

_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
_USAGE: Shape = dict.fromkeys(_COUNTS, NUMBER)
SHAPE: Shape = {
    "type": TEXT,
    "timestamp": TEXT,
    "payload": {
        "type": TEXT,
        "id": TEXT,
        "forked_from_id": TEXT,
        "model_provider": TEXT,
        "turn_id": TEXT,
        "model": TEXT,
        "service_tier": TEXT,
        "response_id": TEXT,
        "usage": _USAGE,
        "info": {"model": TEXT, "total_token_usage": _USAGE, "last_token_usage": _USAGE},
    },
}


class CodexCli:
    """Codex CLI's own session logs."""

    source = "codex_cli"
    role: Role = "log"
    merge = SESSION_MERGE

    def count_records(self, file: LandedFile) -> int:
        """Non-blank lines."""
        return count_lines(file.path)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch. Raises FileRejectedError for a file that is too large to be one session."""
        session = read_session(file, SHAPE)
        if not session.is_empty():
            yield _batch(session)


def _batch(session: pl.DataFrame) -> Batch:
    frame = _with_context(session)
    calls = frame.filter(pl.col("is_malformed") | pl.col("is_bad_call") | pl.col("is_call"))
    good, rejected = split_faults(calls, (*JSON_FAULTS, *_FAULTS))
    leaves = good.with_columns(_leaves())
    whole, uneven = settle_counts(leaves, [name for name in TOKEN_COLUMNS if name in leaves.columns])
    named = _named(whole)
    return Batch(usage=canonical_usage(named), rejected=[*rejected, *uneven], not_usage=len(frame) - len(calls))


def _with_context(session: pl.DataFrame) -> pl.DataFrame:
    """Every record with the model, turn, tier and session in force, the counts of its call, and whether it is one."""
    payload = pl.col("payload").struct
    kind = pl.col("type")
    frame = session.with_columns(
        parse_instants(session["timestamp"]).alias("started_at"),
        (kind == "token_usage_record").fill_null(False).alias("is_record"),
        ((kind == "event_msg") & (payload.field("type") == "token_count")).fill_null(False).alias("is_event"),
        (kind == "turn_context").fill_null(False).alias("is_context"),
        (kind == "session_meta").fill_null(False).alias("is_meta"),
        *[payload.field(name).alias(f"payload.{name}") for name in ("id", "turn_id", "model", "service_tier")],
        *[
            payload.field(name).alias(name)
            for name in ("response_id", "forked_from_id", "model_provider", "info", "usage")
        ],
    ).drop("payload")
    info = pl.col("info").struct
    for name in _COUNTS:
        frame = frame.with_columns(
            info.field("total_token_usage").struct.field(name).alias(f"sum.{name}"),
            info.field("last_token_usage").struct.field(name).alias(f"last.{name}"),
            pl.col("usage").struct.field(name).alias(f"own.{name}"),
        )
    in_context = pl.col("is_context")
    frame = frame.with_columns(
        info.field("model").alias("event_model"),
        *[
            pl.when(in_context).then(pl.col(f"payload.{name}")).forward_fill().alias(f"turn.{name}")
            for name in ("model", "turn_id")
        ],
        # a turn without a tier is a standard turn: the tier of the turn before must not live on
        pl.when(in_context).then(pl.col("payload.service_tier").fill_null("")).forward_fill().alias("turn.tier"),
        pl.col("is_record").cum_sum().alias("records_so_far"),
    )
    return _with_calls(frame.with_columns(*_session(frame)))


def _session(frame: pl.DataFrame) -> list[pl.Expr]:
    """Session, lineage and provider as the session_meta records name them; the first of them is the file's own."""
    metas = frame.filter("is_meta").select("payload.id", "forked_from_id", "model_provider")
    own = metas["payload.id"].item(0) if len(metas) else None
    parents = dict(metas.select("payload.id", "forked_from_id").drop_nulls().rows())
    oldest, seen = own, {own}
    while parents.get(oldest) is not None and parents[oldest] not in seen:
        oldest = parents[oldest]
        seen.add(oldest)
    provider = metas["model_provider"].item(0) if len(metas) else None
    return [
        pl.lit(own, dtype=pl.String).alias("session_id"),
        pl.lit(oldest, dtype=pl.String).alias("lineage"),
        provider_name(pl.lit(provider, dtype=pl.String)).fill_null("openai").alias("provider"),
    ]


def _with_calls(frame: pl.DataFrame) -> pl.DataFrame:
    """`n.<count>` of the call that a record stands for, and `is_call`; `is_bad_call` where counts cannot be read."""
    is_total = pl.col("is_event") & pl.col("sum.input_tokens").is_not_null() & (pl.col("records_so_far") == 0)
    before = [
        pl.when(is_total).then(pl.col(f"sum.{name}").fill_null(0.0)).forward_fill().shift(1).alias(f"before.{name}")
        for name in _COUNTS
    ]
    frame = frame.with_columns(*before, is_total.alias("is_total"))
    is_first = pl.col("before.input_tokens").is_null()
    steps = {name: pl.col(f"sum.{name}").fill_null(0.0) - pl.col(f"before.{name}") for name in _COUNTS}
    falls = pl.any_horizontal(step < 0 for step in steps.values()).fill_null(False)
    stands_still = pl.all_horizontal(step == 0 for step in steps.values()).fill_null(False)
    by_last = (is_first | falls) & pl.col("last.input_tokens").is_not_null()
    counts = [
        pl.when("is_record")
        .then(pl.col(f"own.{name}"))
        .when(by_last)
        .then(pl.col(f"last.{name}"))
        .when(is_first | falls)
        .then(pl.col(f"sum.{name}"))
        .otherwise(steps[name])
        .fill_null(0.0)
        .alias(f"n.{name}")
        for name in _COUNTS
    ]
    misread = pl.col("type_error").is_not_null() & (pl.col("is_record") | pl.col("is_event"))
    return frame.with_columns(
        *counts, (pl.col("is_record") | (is_total & ~stands_still)).alias("is_call"), misread.alias("is_bad_call")
    )


_FAULTS: tuple[Fault, ...] = (
    Fault(pl.col("timestamp").is_null(), "missing_timestamp", "timestamp"),
    Fault(pl.col("started_at").is_null(), "bad_timestamp", "timestamp"),
    Fault(
        pl.col("is_record") & pl.col("own.input_tokens").is_null() & pl.col("own.output_tokens").is_null(),
        "missing_usage",
        "payload",
    ),
    Fault(pl.coalesce("event_model", "payload.model", "turn.model").is_null(), "missing_model", "payload"),
)


def _leaves() -> list[pl.Expr]:
    cached, written = pl.col("n.cached_input_tokens"), pl.col("n.cache_write_input_tokens")
    return [
        (pl.col("n.input_tokens") - cached - written).alias("input_uncached_tokens"),
        cached.alias("cache_read_tokens"),
        written.alias("cache_write_unknown_tokens"),
        pl.col("n.output_tokens").alias("output_tokens"),
        pl.col("n.reasoning_output_tokens").alias("reasoning_tokens"),
    ]


def _named(whole: pl.DataFrame) -> pl.DataFrame:
    turn = pl.coalesce(pl.when("is_record").then(pl.col("payload.turn_id")), "turn.turn_id", "lineage")
    sums = [pl.col(f"sum.{name}").fill_null(0.0).cast(pl.Int64, strict=False).cast(pl.String) for name in _COUNTS]
    by_sum = pl.when(~pl.col("is_record")).then(pl.concat_str([turn, *sums], separator=":"))
    ranked = whole.with_columns(
        pl.coalesce("response_id", by_sum).alias("request_id"),
        pl.coalesce("event_model", "payload.model", "turn.model").alias("model"),
        service_tier(pl.col("turn.tier")).alias("service_tier"),
        pl.sum_horizontal(name for name in LEAF_COLUMNS if name in whole.columns).alias("total"),
    )
    return ranked.with_columns(copy_rank(pl.col("total"), pl.col("started_at"), pl.lit(True)).alias("merge_rank"))


CONNECTOR = CodexCli()
