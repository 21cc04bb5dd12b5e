"""OpenAI's usage objects and the many that imitate them → disjoint leaves. Inclusive: cached ⊂ prompt ⊂ total.

What lives here: Chat Completions (also Mistral, Groq, DeepSeek, xAI, Z.ai, Cerebras, Hugging Face, Moonshot,
Perplexity, OpenRouter, LiteLLM), embeddings, Responses, Images, transcription, Realtime; the cost that a provider
itself reports; OpenRouter's BYOK split. What does not: Anthropic, Google, Bedrock, Cohere (files beside this one).
Sources: openai-openapi of 2026-08; docs.x.ai cost tracking (10^10 ticks = 1 USD).
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from pipelines.connectors.native.fields import (
    NOWHERE,
    UNSPLIT,
    InclusiveInput,
    count,
    is_used,
    largest,
    largest_given,
    positive,
    raw,
    split_given,
)
from pipelines.connectors.reading.json_lines import FLAG, NUMBER, TEXT, Shape
from pipelines.connectors.reading.providers import provider_name

_CACHED_SPLIT: Shape = {"audio_tokens": NUMBER, "image_tokens": NUMBER}
_INPUT_DETAILS: Shape = {
    "cached_tokens": NUMBER,
    "cached_tokens_details": _CACHED_SPLIT,
    "cache_write_tokens": NUMBER,
    "cache_write_tokens_details": {"ttl_30m_tokens": NUMBER, "ttl_12h_tokens": NUMBER},
    "cache_creation_tokens": NUMBER,
    "cache_creation_token_details": {"ephemeral_5m_input_tokens": NUMBER, "ephemeral_1h_input_tokens": NUMBER},
    "text_tokens": NUMBER,
    "audio_tokens": NUMBER,
    "image_tokens": NUMBER,
    "video_tokens": NUMBER,
}
_REALTIME_DETAILS: Shape = {
    "cached_tokens": NUMBER,
    "cached_tokens_details": _CACHED_SPLIT,
    "audio_tokens": NUMBER,
    "image_tokens": NUMBER,
}
_OUTPUT_DETAILS: Shape = {
    "reasoning_tokens": NUMBER,
    "thinking_tokens": NUMBER,
    "audio_tokens": NUMBER,
    "image_tokens": NUMBER,
}
OPENAI_SHAPE: Shape = {
    "prompt_tokens": NUMBER,
    "completion_tokens": NUMBER,
    "total_tokens": NUMBER,
    "prompt_tokens_details": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "prompt_cache_hit_tokens": NUMBER,
    "num_cached_tokens": NUMBER,
    "cached_tokens": NUMBER,
    "reasoning_tokens": NUMBER,
    "num_search_queries": NUMBER,
    "cost": TEXT,
    "cost_in_usd_ticks": TEXT,
    "is_byok": FLAG,
    "input_tokens": NUMBER,
    "output_tokens": NUMBER,
    "input_tokens_details": _INPUT_DETAILS,
    "output_tokens_details": _OUTPUT_DETAILS,
    "input_token_details": _REALTIME_DETAILS,
    "output_token_details": {"audio_tokens": NUMBER, "image_tokens": NUMBER},
    "type": TEXT,
    "seconds": NUMBER,
}
"""`cost` is text so that no float touches it: OpenRouter and others write a number, Perplexity an object."""

_TICKS_PER_USD = 10**10


def chat(frame: pl.DataFrame) -> pl.DataFrame:
    """Leaves of Chat Completions and embeddings objects: `prompt_tokens`, `completion_tokens`, `total_tokens`.

    A total above prompt + completion is thinking that the endpoint leaves out of completion (Gemini behind its
    OpenAI-compatible endpoint, xAI): the difference is billed as output, so it is added to output and reasoning.
    An embedding has no completion, or a model named so with none; Voyage gives its input as `total_tokens` alone.
    """
    is_absent, is_zero = raw("completion_tokens").is_null(), raw("completion_tokens") == 0
    is_embedding = is_absent | (is_zero & pl.col("model").str.contains("(?i)embed").fill_null(False))
    prompt = raw("prompt_tokens").fill_null(pl.when(raw("completion_tokens").is_null()).then(raw("total_tokens")))
    leaves = _inclusive(
        frame,
        total_input=prompt.fill_null(0.0),
        output=count("completion_tokens"),
        input_details=["prompt_tokens_details"],
        output_details=["completion_tokens_details"],
    )
    leaves = leaves.with_columns(web_search_requests=raw("num_search_queries"))
    if not frame.select((is_absent | is_zero).any()).item():
        return leaves
    return leaves.with_columns(
        embedding_input_tokens=pl.when(is_embedding).then(pl.col("input_uncached_tokens")).otherwise(0.0),
        input_uncached_tokens=pl.when(is_embedding).then(0.0).otherwise(pl.col("input_uncached_tokens")),
    )


def responses(frame: pl.DataFrame) -> pl.DataFrame:
    """Leaves of Responses, Images, transcription and Realtime objects: `input_tokens`, `output_tokens`.

    An Images object splits its input into text and image, has no cached count and no output split: its output is all
    image. Transcription billed by duration has `seconds` and no tokens.
    """
    is_image = (
        raw("input_tokens_details", "image_tokens").is_not_null()
        & raw("input_tokens_details", "text_tokens").is_not_null()
        & raw("input_tokens_details", "cached_tokens").is_null()
        & raw("output_tokens_details").is_null()
    )
    leaves = _inclusive(
        frame,
        total_input=count("input_tokens"),
        output=count("output_tokens"),
        input_details=["input_tokens_details", "input_token_details"],
        output_details=["output_tokens_details", "output_token_details"],
    )
    return leaves.with_columns(
        output_image_tokens=pl.when(is_image).then(pl.col("output_tokens")).otherwise(pl.col("output_image_tokens")),
        output_tokens=pl.when(is_image).then(0.0).otherwise(pl.col("output_tokens")),
        audio_seconds=raw("seconds"),
    )


def details_from_text() -> pl.Expr:
    """`prompt_tokens_details` as the object that the families expect, from the JSON text of SDK_USAGE_SHAPE.

    A value of the wrong type becomes infinite, which is no count and is named as such.
    """

    def read(kind: Shape, path: str) -> pl.Expr:
        fields = []
        for name, inner in kind.items():
            if isinstance(inner, str):
                found = pl.col("prompt_tokens_details").str.json_path_match(f"{path}.{name}")
                number = found.cast(pl.Float64, strict=False)
                wrong = found.is_not_null() & (found != "null") & number.is_null()
                fields.append(pl.when(wrong).then(float("inf")).otherwise(number).alias(name))
            else:
                fields.append(read(inner, f"{path}.{name}").alias(name))
        return pl.struct(fields)

    return read(_INPUT_DETAILS, "$").alias("prompt_tokens_details")


def _inclusive(
    frame: pl.DataFrame,
    *,
    total_input: pl.Expr,
    output: pl.Expr,
    input_details: list[str],
    output_details: list[str],
) -> pl.DataFrame:
    """`frame` (an unnested usage object per row) with the leaves, reasoning and reported cost beside it."""
    into = [name for name in input_details if is_used(frame, name)]
    outof = [name for name in output_details if is_used(frame, name)]
    nested = [name for name in into if name != "input_token_details"]
    thinking = [name for name in outof if name != "output_token_details"]
    plain = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cache_read_input_tokens")

    def part(details: list[str], *path: str) -> pl.Expr:
        return largest_given(frame, *((name, *path) for name in details))

    split = _cache_writes(frame, nested)
    audio_out, image_out = part(outof, "audio_tokens"), part(outof, "image_tokens")
    beyond = positive(raw("total_tokens") - total_input - output).fill_null(0.0)
    hidden = frame.select(beyond.alias("hidden")).to_series()
    added = pl.lit(hidden) if hidden.max() else NOWHERE
    reasoning = largest_given(frame, ("reasoning_tokens",), *((name, "reasoning_tokens") for name in thinking))
    inclusive = InclusiveInput(
        total=total_input,
        cached=largest_given(frame, *((name, "cached_tokens") for name in into), *((name,) for name in plain)),
        written=pl.sum_horizontal(*split.values()) if split else NOWHERE,
        audio=part(into, "audio_tokens"),
        image=part(into, "image_tokens"),
        video=part(nested, "video_tokens"),
        cached_audio=split_given(frame, *((name, "cached_tokens_details", "audio_tokens") for name in into)),
        cached_image=split_given(frame, *((name, "cached_tokens_details", "image_tokens") for name in into)),
        cached_video=UNSPLIT,
    )
    return frame.with_columns(
        *inclusive.leaves(),
        *(written.alias(leaf) for leaf, written in split.items()),
        (output + added - audio_out - image_out).alias("output_tokens"),
        audio_out.alias("output_audio_tokens"),
        image_out.alias("output_image_tokens"),
        (reasoning if added is NOWHERE else largest(added, reasoning)).alias("reasoning_tokens"),
        raw("service_tier").alias("usage_tier"),
    )


def _cache_writes(frame: pl.DataFrame, details: list[str]) -> dict[str, pl.Expr]:
    """Cache writes by TTL, none where no row has any; what a total says beyond its own split goes to unknown."""
    fields = ("cache_write_tokens", "cache_creation_tokens")
    total = split_given(
        frame, *((name, field) for name in details for field in fields), ("cache_creation_input_tokens",)
    )

    def ttl(group: str, field: str) -> pl.Expr:
        return largest_given(frame, *((name, group, field) for name in details))

    known = {
        "cache_write_30m_tokens": ttl("cache_write_tokens_details", "ttl_30m_tokens"),
        "cache_write_12h_tokens": ttl("cache_write_tokens_details", "ttl_12h_tokens"),
        "cache_write_5m_tokens": ttl("cache_creation_token_details", "ephemeral_5m_input_tokens"),
        "cache_write_1h_tokens": ttl("cache_creation_token_details", "ephemeral_1h_input_tokens"),
    }
    if total is UNSPLIT and all(written is NOWHERE for written in known.values()):
        return {}
    nested = pl.sum_horizontal(*known.values())
    return {**known, "cache_write_unknown_tokens": total.fill_null(nested) - nested}


def reported_cost(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with `reported_cost_usd` (Decimal(38, 12)) and `bad_cost` (a cost that is no number).

    Only the provider that bills may say what a call cost: OpenRouter and Perplexity in `cost`, xAI in ticks; the
    estimate of a gateway is no bill. Digits beyond the twelfth decimal are rounded half to even. The reader hands a
    JSON number on with 17 significant digits, which is all that a provider's own double holds.
    """
    nothing = pl.lit(None, dtype=pl.Decimal(38, 12))
    text = pl.col("cost").fill_null("") if is_used(frame, "cost") else pl.lit("")
    ticks = pl.col("cost_in_usd_ticks") if is_used(frame, "cost_in_usd_ticks") else pl.lit(None, dtype=pl.String)
    total = text.str.extract(r'"total_cost"\s*:\s*"?([0-9.eE+-]+)', 1).fill_null(text)
    said = (
        pl.when(pl.col("provider").is_in(["openrouter", "perplexity"]) & (text != ""))
        .then(total)
        .when(pl.col("provider") == "xai")
        .then(ticks)
    )
    scale = pl.when(pl.col("provider") == "xai").then(pl.lit(Decimal(1) / _TICKS_PER_USD)).otherwise(pl.lit(Decimal(1)))
    if not is_used(frame, "cost") and not is_used(frame, "cost_in_usd_ticks"):
        return frame.with_columns(reported_cost_usd=nothing, bad_cost=pl.lit(False))
    amount = said.cast(pl.Decimal(38, 12), strict=False)
    return frame.with_columns(
        reported_cost_usd=(amount * scale.cast(pl.Decimal(38, 12))).cast(pl.Decimal(38, 12)),
        bad_cost=said.is_not_null() & amount.is_null(),
    )


def split_byok(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of OpenRouter calls on the customer's own key, in two: OpenRouter's fee, and the usage that upstream bills.

    Part 0 stays with `openrouter`, keeps the reported cost (the fee) and the request, and has no tokens. Part 1 belongs
    to the upstream provider (the body's own `upstream` name, else the prefix of the model id) under the id behind the
    prefix and before any `:variant`; it has the tokens, no request and no reported cost.
    """
    if not is_used(frame, "is_byok"):
        return frame
    is_byok = (pl.col("provider") == "openrouter") & pl.col("is_byok").fill_null(False)
    own = frame.filter(is_byok)
    if own.is_empty():
        return frame
    numbers = [name for name in frame.columns if name.endswith("_tokens") and frame.schema[name] == pl.Float64]
    meters = [name for name in ("web_search_requests", "audio_seconds") if name in frame.columns]
    fee = own.with_columns(pl.lit(0.0).alias(name) for name in (*numbers, *meters))
    prefix = pl.col("model").str.extract(r"^~?([^/]+)/", 1)
    upstream = own.with_columns(
        part=pl.lit(1, dtype=pl.Int32),
        requests=pl.lit(0, dtype=pl.Int64),
        provider=pl.coalesce(provider_name(pl.col("upstream")), provider_name(prefix), pl.col("provider")),
        model=pl.col("model").str.replace(r"^[^/]+/", "").str.replace(r":[a-z]+$", ""),
        reported_cost_usd=pl.lit(None, dtype=pl.Decimal(38, 12)),
    )
    return pl.concat([frame.filter(~is_byok), fee, upstream])
