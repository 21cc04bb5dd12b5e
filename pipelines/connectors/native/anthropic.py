"""Anthropic's Messages usage object → disjoint leaves. Additive: uncached, cache reads and writes stand side by side.

What lives here: the top-level object and its `iterations`. What does not: the Batch and Usage APIs around it.
Sources: anthropic SDK types and recorded responses.
"""

from __future__ import annotations

import polars as pl

from pipelines.connectors.native.fields import count, is_used, raw
from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape

_CACHE_CREATION: Shape = {"ephemeral_5m_input_tokens": NUMBER, "ephemeral_1h_input_tokens": NUMBER}
_COUNTS: Shape = {
    "cache_creation_input_tokens": NUMBER,
    "cache_read_input_tokens": NUMBER,
    "cache_creation": _CACHE_CREATION,
}
ANTHROPIC_SHAPE: Shape = {
    **_COUNTS,
    "server_tool_use": {"web_search_requests": NUMBER, "web_fetch_requests": NUMBER},
    "service_tier": TEXT,
    "inference_geo": TEXT,
    "speed": TEXT,
    "iterations": [{"model": TEXT, "input_tokens": NUMBER, "output_tokens": NUMBER, **_COUNTS}],
}
"""Beside `input_tokens`, `output_tokens` and `output_tokens_details`, which the OpenAI shape names too."""

_LEAVES = (
    "input_uncached_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_write_unknown_tokens",
    "output_tokens",
)


def messages(frame: pl.DataFrame) -> pl.DataFrame:
    """Leaves of Messages objects; one row per model where `iterations` say that several ran.

    Compaction and advisor iterations are billed and stand in no top-level count, so Σ iterations is taken wherever
    there are any, each by its own model, else the message's. The first row carries the request, the tools and the
    thinking tokens. `speed: fast` is a tier of its own, and only `inference_geo: us` is priced apart.
    """
    # The top-level thinking split is the message model's: iterations do not repeat it.
    read = frame.with_columns(
        web_search_requests=raw("server_tool_use", "web_search_requests"),
        web_fetch_requests=raw("server_tool_use", "web_fetch_requests"),
        reasoning_tokens=count("output_tokens_details", "thinking_tokens"),
        usage_tier=pl.when(raw("speed").str.to_lowercase() == "fast")
        .then(pl.lit("fast"))
        .otherwise(raw("service_tier")),
        usage_region=pl.when(raw("inference_geo").str.to_lowercase() == "us").then(pl.lit("us")),
    )
    if not is_used(frame, "iterations"):
        return read.with_columns(_additive())
    is_iterated = pl.col("iterations").list.len().fill_null(0) > 0
    plain = read.filter(~is_iterated).with_columns(_additive())
    return pl.concat([plain, _iterated(read.filter(is_iterated))], how="diagonal")


def _additive() -> list[pl.Expr]:
    """Leaves of columns named as Anthropic names them. The total of cache writes is never added to its own split."""
    short, long = (count("cache_creation", f"ephemeral_{ttl}_input_tokens") for ttl in ("5m", "1h"))
    total = raw("cache_creation_input_tokens").fill_null(short + long)
    return [
        count("input_tokens").alias("input_uncached_tokens"),
        count("cache_read_input_tokens").alias("cache_read_tokens"),
        short.alias("cache_write_5m_tokens"),
        long.alias("cache_write_1h_tokens"),
        (total - short - long).alias("cache_write_unknown_tokens"),
        count("output_tokens").alias("output_tokens"),
    ]


def _iterated(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per record and model, in the order in which the models first ran, the message's own model first."""
    steps = (
        frame.select("record_number", pl.col("model").alias("message_model"), pl.col("iterations"))
        .explode("iterations")
        .unnest("iterations")
        .with_columns(pl.coalesce("model", "message_model").alias("model"))
        .with_columns(_additive())
    )
    models = (
        steps.group_by("record_number", "model", maintain_order=True)
        .agg(*(pl.col(leaf).sum() for leaf in _LEAVES), is_other=(pl.col("model") != pl.col("message_model")).any())
        .sort("record_number", "is_other", maintain_order=True, nulls_last=True)
        .with_columns(part=pl.int_range(pl.len(), dtype=pl.Int32).over("record_number"))
    )
    is_first = pl.col("part") == 0
    once = ("web_search_requests", "web_fetch_requests", "reasoning_tokens")
    return (
        frame.drop(*_LEAVES, "model", "part", "requests", strict=False)
        .join(models.drop("is_other"), on="record_number", how="left", maintain_order="left")
        .with_columns(
            requests=is_first.cast(pl.Int64),
            **{name: pl.when(is_first).then(pl.col(name)).otherwise(0.0) for name in once},
        )
    )
