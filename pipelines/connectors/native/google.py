"""Google's usageMetadata (Gemini API, Vertex AI, Live API, embeddings) → disjoint leaves.

What lives here: camel-case fields of the REST bodies and snake-case ones that the SDKs write. What does not: Gemini
behind the OpenAI-compatible endpoint (openai.py).
Rule: cached ⊂ prompt; thoughts and tool-use prompts stand outside candidates and prompt.
"""

from __future__ import annotations

import polars as pl

from pipelines.connectors.native.fields import InclusiveInput, is_used, listed
from pipelines.connectors.reading.json_lines import JSON, NUMBER, TEXT, Shape

_COUNTS = {
    "prompt": ("promptTokenCount", "prompt_token_count"),
    "cached": ("cachedContentTokenCount", "cached_content_token_count"),
    "candidates": ("candidatesTokenCount", "candidates_token_count"),
    "response": ("responseTokenCount", "response_token_count"),
    "thoughts": ("thoughtsTokenCount", "thoughts_token_count"),
    "tool_use": ("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
    "total": ("totalTokenCount", "total_token_count"),
}
_MODALITIES: Shape = {"modality": TEXT, "tokenCount": NUMBER}
_SDK_MODALITIES: Shape = {"modality": TEXT, "token_count": NUMBER}
GOOGLE_SHAPE: Shape = {
    **{name: NUMBER for names in _COUNTS.values() for name in names},
    "promptTokensDetails": [_MODALITIES],
    "cacheTokensDetails": [_MODALITIES],
    "candidatesTokensDetails": [_MODALITIES],
    "responseTokensDetails": [_MODALITIES],
    "cache_tokens_details": [_SDK_MODALITIES],
    "candidates_tokens_details": [_SDK_MODALITIES],
    "response_tokens_details": [_SDK_MODALITIES],
    "prompt_tokens_details": JSON,
    "trafficType": TEXT,
    "traffic_type": TEXT,
    "serviceTier": TEXT,
}
"""`prompt_tokens_details` is OpenAI's name too, for an object: only JSON text fits both (usage.usage_shape)."""

SIGNS = tuple(name for kind in ("prompt", "candidates", "response", "total") for name in _COUNTS[kind])
"""A usage object with one of these fields is Google's."""


def usage_metadata(frame: pl.DataFrame) -> pl.DataFrame:
    """Leaves of usageMetadata objects. Fields are absent when zero.

    Output is candidates + thoughts. What modality details leave out of their total is text; documents count as images,
    which is how Google tokenises their pages. An embedding reports a prompt and nothing else, or its model is named so.
    `trafficType` (Vertex AI) or `serviceTier` (Gemini API) is the tier served.
    """
    given = {kind: _either(frame, *names) for kind, names in _COUNTS.items()}
    counts = {kind: field.fill_null(0.0) for kind, field in given.items()}
    candidates = pl.coalesce(given["candidates"], given["response"]).fill_null(0.0)
    is_embedding = pl.all_horizontal(
        given[kind].is_null() for kind in ("candidates", "response", "thoughts", "total", "tool_use")
    ) | (pl.col("model").str.contains("(?i)embed").fill_null(False) & (candidates == 0))
    fresh = InclusiveInput(
        total=counts["prompt"],
        cached=counts["cached"],
        written=pl.lit(0.0),
        audio=_modality(frame, "prompt", "audio").fill_null(0.0),
        image=_modality(frame, "prompt", "image", "document").fill_null(0.0),
        video=_modality(frame, "prompt", "video").fill_null(0.0),
        cached_audio=_modality(frame, "cache", "audio"),
        cached_image=_modality(frame, "cache", "image", "document"),
        cached_video=_modality(frame, "cache", "video"),
    )
    audio_out = _modality(frame, "candidates", "audio").fill_null(0.0)
    image_out = _modality(frame, "candidates", "image").fill_null(0.0)
    traffic = _either(frame, "trafficType", "traffic_type").str.split(".").list.last().str.to_lowercase()
    leaves = frame.with_columns(
        *fresh.leaves(),
        counts["tool_use"].alias("input_tool_use_tokens"),
        (candidates + counts["thoughts"] - audio_out - image_out).alias("output_tokens"),
        audio_out.alias("output_audio_tokens"),
        image_out.alias("output_image_tokens"),
        counts["thoughts"].alias("reasoning_tokens"),
        pl.coalesce(pl.when(traffic != "traffic_type_unspecified").then(traffic), "serviceTier").alias("usage_tier"),
    )
    text = pl.col("input_uncached_tokens")
    return leaves.with_columns(
        embedding_input_tokens=pl.when(is_embedding).then(text).otherwise(0.0),
        input_uncached_tokens=pl.when(is_embedding).then(0.0).otherwise(text),
    )


def _either(frame: pl.DataFrame, *names: str) -> pl.Expr:
    used = [name for name in names if is_used(frame, name)]
    return pl.coalesce(used) if used else pl.lit(None, dtype=frame.schema[names[0]])


def _modality(frame: pl.DataFrame, side: str, *modalities: str) -> pl.Expr:
    """Σ tokens of some modalities on one side of the call; NULL where the source gives no such details."""
    lists = {
        "prompt": [("promptTokensDetails", "tokenCount")],
        "cache": [("cacheTokensDetails", "tokenCount"), ("cache_tokens_details", "token_count")],
        "candidates": [
            ("candidatesTokensDetails", "tokenCount"),
            ("responseTokensDetails", "tokenCount"),
            ("candidates_tokens_details", "token_count"),
            ("response_tokens_details", "token_count"),
        ],
    }[side]
    sums = [listed(frame, name, "modality", value, modalities) for name, value in lists]
    if side == "prompt" and frame.schema["prompt_tokens_details"] == pl.String:
        sums.append(_from_text(modalities))
    return pl.coalesce(sums)


def _from_text(modalities: tuple[str, ...]) -> pl.Expr:
    """The same from the SDK's `prompt_tokens_details`, which the reader hands on as JSON text."""
    text = pl.col("prompt_tokens_details").str.replace_all(r'"modality":\s*"(?:MediaModality\.)?', '"modality":"')
    found = [text.str.json_path_match(f'$[?(@.modality=="{name.upper()}")].token_count') for name in modalities]
    return pl.when(text.is_not_null()).then(
        pl.sum_horizontal(amount.cast(pl.Float64, strict=False).fill_null(0.0) for amount in found)
    )
