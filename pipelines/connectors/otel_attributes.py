"""The dialects of GenAI span attributes, and how one leaf span becomes token leaves.

What lives here: attribute names of OpenTelemetry GenAI (old and new), OpenLLMetry, Pydantic/Logfire, OpenInference and
the Vercel AI SDK; which spans are leaf operations; the arithmetic. What does not: the OTLP envelope (otel_genai.py).

`input_tokens` SHOULD include cached tokens. Instrumentations of Anthropic and Bedrock older than 2026 wrote the native
count, which excludes them. Where a total is given it decides; without one, input below its cached parts shows for these
two providers that the parts stand beside. Otherwise the parts are taken off, and a negative rest is for the contract.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.connectors.native.fields import InclusiveInput

LEAF_OPERATIONS = ("chat", "text_completion", "generate_content", "embeddings")

WORDS: Mapping[str, tuple[str, ...]] = {
    "operation": ("gen_ai.operation.name",),
    "inference_kind": ("openinference.span.kind",),
    "vercel_operation": ("ai.operationId",),
    "traceloop_kind": ("traceloop.span.kind",),
    "request_type": ("llm.request.type",),
    "said_provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "vercel_provider": ("ai.model.provider",),
    "model": (
        "gen_ai.response.model",
        "ai.response.model",
        "llm.response.model",
        "gen_ai.request.model",
        "llm.model_name",
        "embedding.model_name",
        "ai.model.id",
        "llm.request.model",
    ),
    "response_id": ("gen_ai.response.id", "ai.response.id", "llm.response.id"),
    "tier": (
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "gen_ai.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
        "gen_ai.request.service_tier",
    ),
    "session_id": ("gen_ai.conversation.id", "session.id", "ai.telemetry.metadata.sessionId"),
    "user_id": ("user.id", "enduser.id", "ai.telemetry.metadata.userId"),
    "feature_tag": (
        "feature",
        "feature_tag",
        "app.feature",
        "ai.telemetry.metadata.feature",
        "ai.telemetry.functionId",
    ),
    "agent": ("gen_ai.agent.name",),
    "error_type": ("error.type",),
}
"""What we read as words → the attributes that may hold it, best first."""

COUNTS: Mapping[str, tuple[str, ...]] = {
    "n.input": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "llm.usage.prompt_tokens",
        "ai.usage.tokens",
    ),
    "n.output": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        "llm.usage.completion_tokens",
    ),
    "n.total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens"),
    "n.cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
    ),
    "n.cache_write": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "n.reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.reasoningTokens",
    ),
    "n.input_audio": (
        "gen_ai.usage.audio.input_tokens",
        "gen_ai.usage.details.input_audio_tokens",
        "llm.token_count.prompt_details.audio",
    ),
    "n.input_image": ("gen_ai.usage.image.input_tokens",),
    "n.output_audio": (
        "gen_ai.usage.audio.output_tokens",
        "gen_ai.usage.details.output_audio_tokens",
        "llm.token_count.completion_details.audio",
    ),
    "n.output_image": ("gen_ai.usage.image.output_tokens",),
}
"""What we read as counts → the attributes that may hold it, best first."""

_NATIVELY_DISJOINT = ("anthropic", "aws_bedrock")


def is_leaf_operation() -> pl.Expr:
    """True for spans that are one call of a model, by the words of their dialect.

    `gen_ai.operation.name` decides where it is set: invoke_agent and workflow spans repeat or sum what their children
    used. Else OpenInference's kind, the AI SDK's operation (`ai.generateText.doGenerate` is the call,
    `ai.generateText` its sum), OpenLLMetry's request type; a span of no dialect is a call when it has a model and
    counts and is no workflow.
    """
    counted = pl.any_horizontal(pl.col(name).is_not_null() for name in ("n.input", "n.output"))
    bare = pl.col("model").is_not_null() & counted & pl.col("traceloop_kind").is_null()
    return (
        pl.when(pl.col("operation").is_not_null())
        .then(pl.col("operation").is_in(LEAF_OPERATIONS))
        .when(pl.col("inference_kind").is_not_null())
        .then(pl.col("inference_kind").str.to_uppercase().is_in(["LLM", "EMBEDDING"]))
        .when(pl.col("vercel_operation").is_not_null())
        .then(pl.col("vercel_operation").str.contains(r"\.do(Generate|Stream|Embed)$"))
        .when(pl.col("request_type").is_not_null())
        .then(pl.lit(True))
        .otherwise(bare)
    )


def is_embedding() -> pl.Expr:
    """True for leaf spans that embed instead of generate."""
    return (
        (pl.col("operation") == "embeddings").fill_null(False)
        | (pl.col("inference_kind").str.to_uppercase() == "EMBEDDING").fill_null(False)
        | pl.col("vercel_operation").str.ends_with(".doEmbed").fill_null(False)
        | (pl.col("request_type") == "embedding").fill_null(False)
    )


def span_leaves() -> list[pl.Expr]:
    """Disjoint leaves of a leaf span, as Float64, over the columns of COUNTS and `provider`."""
    count = {name: pl.col(name).fill_null(0.0) for name in COUNTS}
    cached, written = count["n.cache_read"], count["n.cache_write"]
    base, parts = count["n.input"] + count["n.output"], cached + written
    total = pl.col("n.total")
    fits = (total == base) | (total == base + parts)
    native = pl.col("provider").is_in(_NATIVELY_DISJOINT) & (count["n.input"] < parts)
    beside = (parts > 0) & pl.when(fits.fill_null(False)).then(total != base).otherwise(native)
    none = pl.lit(None, dtype=pl.Float64)
    whole = InclusiveInput(
        total=count["n.input"] + pl.when(beside.fill_null(False)).then(parts).otherwise(0.0),
        cached=cached,
        written=written,
        audio=count["n.input_audio"],
        image=count["n.input_image"],
        video=pl.lit(0.0),
        cached_audio=none,
        cached_image=none,
        cached_video=none,
    )
    uncached, *others = whole.leaves()
    return [
        pl.when(is_embedding()).then(0.0).otherwise(uncached).alias("input_uncached_tokens"),
        pl.when(is_embedding()).then(uncached).otherwise(0.0).alias("embedding_input_tokens"),
        *others,
        written.alias("cache_write_unknown_tokens"),
        (count["n.output"] - count["n.output_audio"] - count["n.output_image"]).alias("output_tokens"),
        count["n.output_audio"].alias("output_audio_tokens"),
        count["n.output_image"].alias("output_image_tokens"),
        count["n.reasoning"].alias("reasoning_tokens"),
    ]
