"""Usage objects in each provider's own words, written from disjoint token leaves.

What lives here: one function per shape, inclusive and additive counting as the provider counts. What does not: the log
line around it (writers_gateway.py). All need the columns of traffic.COUNTS.
"""

from __future__ import annotations

import polars as pl

from pipelines.demo.json_text import json_object, positive, quoted

UNCACHED = pl.col("input_uncached_tokens")
READ = pl.col("cache_read_tokens")
WRITTEN_5M = pl.col("cache_write_5m_tokens")
WRITTEN_1H = pl.col("cache_write_1h_tokens")
WRITTEN_30M = pl.col("cache_write_30m_tokens")
OUTPUT = pl.col("output_tokens")
REASONING = pl.col("reasoning_tokens")

PROMPT = UNCACHED + READ + WRITTEN_5M + WRITTEN_1H + WRITTEN_30M
"""All input of a call: what inclusive providers call prompt tokens."""


def openai_chat() -> pl.Expr:
    """Chat Completions: cached tokens are part of the prompt, reasoning is part of the completion."""
    return json_object(
        {
            "prompt_tokens": PROMPT,
            "completion_tokens": OUTPUT,
            "total_tokens": PROMPT + OUTPUT,
            "prompt_tokens_details": json_object({"cached_tokens": READ, "audio_tokens": 0}),
            "completion_tokens_details": json_object(
                {
                    "reasoning_tokens": REASONING,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                }
            ),
        }
    )


def openai_responses() -> pl.Expr:
    """Responses: cached and cache-write tokens are part of the input, with the writes' times to live."""
    lifetimes = json_object({"ttl_30m_tokens": WRITTEN_30M, "ttl_12h_tokens": 0})
    return json_object(
        {
            "input_tokens": PROMPT,
            "input_tokens_details": json_object(
                {
                    "cached_tokens": READ,
                    "cache_write_tokens": WRITTEN_30M,
                    "cache_write_tokens_details": lifetimes,
                }
            ),
            "output_tokens": OUTPUT,
            "output_tokens_details": json_object({"reasoning_tokens": REASONING}),
            "total_tokens": PROMPT + OUTPUT,
        }
    )


def anthropic_messages(output: pl.Expr = OUTPUT) -> pl.Expr:
    """Messages: four input classes side by side; `cache_creation_input_tokens` is the sum of the nested object."""
    searches = json_object({"web_search_requests": pl.col("web_search_requests")})
    return json_object(
        {
            "input_tokens": UNCACHED,
            "cache_creation_input_tokens": WRITTEN_5M + WRITTEN_1H,
            "cache_read_input_tokens": READ,
            "cache_creation": json_object(
                {"ephemeral_5m_input_tokens": WRITTEN_5M, "ephemeral_1h_input_tokens": WRITTEN_1H}
            ),
            "output_tokens": output,
            "output_tokens_details": pl.when(REASONING > 0).then(json_object({"thinking_tokens": REASONING})),
            "server_tool_use": pl.when(pl.col("web_search_requests") > 0).then(searches),
            "service_tier": quoted(pl.col("service_tier")),
            "inference_geo": quoted("global"),
        }
    )


def gemini() -> pl.Expr:
    """usageMetadata: cached tokens are part of the prompt, thoughts stand outside the candidates, zeros are absent."""
    return json_object(
        {
            "promptTokenCount": PROMPT,
            "cachedContentTokenCount": positive(READ),
            "candidatesTokenCount": OUTPUT - REASONING,
            "thoughtsTokenCount": positive(REASONING),
            "totalTokenCount": PROMPT + OUTPUT,
            "trafficType": quoted("ON_DEMAND"),
        }
    )


def bedrock_converse() -> pl.Expr:
    """Converse: inputTokens without cache; the same cache counts under two names, as the service writes them."""
    return json_object(
        {
            "inputTokens": UNCACHED,
            "outputTokens": OUTPUT,
            "totalTokens": PROMPT + OUTPUT,
            "cacheReadInputTokens": READ,
            "cacheReadInputTokenCount": READ,
            "cacheWriteInputTokens": 0,
            "cacheWriteInputTokenCount": 0,
        }
    )


def deepseek() -> pl.Expr:
    """Chat Completions with the split of the prompt into cache hits and misses."""
    return json_object(
        {
            "prompt_tokens": PROMPT,
            "completion_tokens": OUTPUT,
            "total_tokens": PROMPT + OUTPUT,
            "prompt_cache_hit_tokens": READ,
            "prompt_cache_miss_tokens": UNCACHED,
        }
    )


def native_usage() -> pl.Expr:
    """The shape that fits a row's provider (and, for OpenAI, the API that its request id belongs to)."""
    is_response = pl.col("request_id").str.starts_with("resp_").fill_null(False)
    provider = pl.col("provider")
    return (
        pl.when(provider == "anthropic")
        .then(anthropic_messages())
        .when(provider == "google")
        .then(gemini())
        .when(provider == "aws_bedrock")
        .then(bedrock_converse())
        .when(provider == "deepseek")
        .then(deepseek())
        .when(is_response)
        .then(openai_responses())
        .otherwise(openai_chat())
    )
