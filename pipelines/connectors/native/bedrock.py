"""Usage objects of Amazon Bedrock (Converse, Nova, stream metrics) and Cohere → disjoint leaves.

What lives here: the two small families. What does not: native bodies that Bedrock passes through (their own families).
Rules: Bedrock is additive and writes its cache counts under two names; Cohere bills `billed_units`,
never the raw `tokens` (§3.9).
"""

from __future__ import annotations

import polars as pl

from pipelines.connectors.native.fields import count, largest, listed, raw
from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape

BEDROCK_SHAPE: Shape = {
    "inputTokens": NUMBER,
    "outputTokens": NUMBER,
    "inputTokenCount": NUMBER,
    "outputTokenCount": NUMBER,
    "cacheReadInputTokens": NUMBER,
    "cacheReadInputTokenCount": NUMBER,
    "cacheWriteInputTokens": NUMBER,
    "cacheWriteInputTokenCount": NUMBER,
    "cacheDetails": [{"ttl": TEXT, "inputTokens": NUMBER}],
}
SIGNS = ("inputTokens", "outputTokens", "inputTokenCount", "outputTokenCount")
COHERE_SHAPE: Shape = {"billed_units": {"input_tokens": NUMBER, "output_tokens": NUMBER, "image_tokens": NUMBER}}


def converse(frame: pl.DataFrame) -> pl.DataFrame:
    """Leaves of Converse usage and of `amazon-bedrock-invocationMetrics`; a count under two names is counted once."""
    short = listed(frame, "cacheDetails", "ttl", "inputTokens", ("5m",)).fill_null(0.0)
    long = listed(frame, "cacheDetails", "ttl", "inputTokens", ("1h",)).fill_null(0.0)
    written = pl.max_horizontal(raw("cacheWriteInputTokens"), raw("cacheWriteInputTokenCount")).fill_null(short + long)
    return frame.with_columns(
        largest(raw("inputTokens"), raw("inputTokenCount")).alias("input_uncached_tokens"),
        largest(raw("cacheReadInputTokens"), raw("cacheReadInputTokenCount")).alias("cache_read_tokens"),
        short.alias("cache_write_5m_tokens"),
        long.alias("cache_write_1h_tokens"),
        (written - short - long).alias("cache_write_unknown_tokens"),
        largest(raw("outputTokens"), raw("outputTokenCount")).alias("output_tokens"),
    )


def cohere(frame: pl.DataFrame) -> pl.DataFrame:
    """Leaves of `billed_units`; without an output count the call is an embedding. Cached tokens are billed as input."""
    is_embedding = raw("billed_units", "output_tokens").is_null()
    text = count("billed_units", "input_tokens")
    return frame.with_columns(
        pl.when(is_embedding).then(0.0).otherwise(text).alias("input_uncached_tokens"),
        pl.when(is_embedding).then(text).otherwise(0.0).alias("embedding_input_tokens"),
        count("billed_units", "image_tokens").alias("input_image_tokens"),
        count("billed_units", "output_tokens").alias("output_tokens"),
    )
