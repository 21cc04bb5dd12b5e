"""Native usage objects → disjoint leaves. Expected values are worked by hand, from the provider's rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.native.usage import SDK_USAGE_SHAPE, USAGE_SHAPE, read_usage
from pipelines.connectors.reading.json_lines import TEXT, read_json_lines
from pipelines.quantities import TOKEN_COLUMNS


def _read(
    folder: Path,
    *usages: dict[str, Any],
    provider: str = "openai",
    model: str | None = "m",
    upstream: str | None = None,
    sdk: bool = False,
) -> pl.DataFrame:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps({"usage": usage}) + "\n" for usage in usages))
    shape = {"usage": SDK_USAGE_SHAPE if sdk else USAGE_SHAPE, "unused": TEXT}
    chunk = pl.concat(read_json_lines(path, shape))
    named = chunk.with_columns(
        provider=pl.lit(provider, dtype=pl.String),
        model=pl.lit(model, dtype=pl.String),
        upstream=pl.lit(upstream, dtype=pl.String),
    )
    return read_usage(named)


def _counts(row: dict[str, Any]) -> dict[str, int]:
    """The columns that are not zero, without their ending."""
    return {name.removesuffix("_tokens"): row[name] for name in TOKEN_COLUMNS if row[name]}


def _only(frame: pl.DataFrame) -> dict[str, Any]:
    assert len(frame) == 1
    return frame.to_dicts()[0]


CHAT = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}

CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "openai chat includes cached and written tokens in the prompt": (
        {**CHAT, "prompt_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100}},
        {"input_uncached": 500, "cache_read": 400, "cache_write_unknown": 100, "output": 200},
    ),
    "openai cache writes are split by time to live and the rest of the total is unknown": (
        {
            **CHAT,
            "prompt_tokens_details": {
                "cache_write_tokens": 100,
                "cache_write_tokens_details": {"ttl_30m_tokens": 60, "ttl_12h_tokens": 30},
            },
        },
        {
            "input_uncached": 900,
            "cache_write_30m": 60,
            "cache_write_12h": 30,
            "cache_write_unknown": 10,
            "output": 200,
        },
    ),
    "reasoning and rejected predictions are inside completion": (
        {**CHAT, "completion_tokens_details": {"reasoning_tokens": 150, "rejected_prediction_tokens": 20}},
        {"input_uncached": 1000, "output": 200, "reasoning": 150},
    ),
    "audio leaves the text leaves of both sides": (
        {
            **CHAT,
            "prompt_tokens_details": {"audio_tokens": 300, "cached_tokens": 100},
            "completion_tokens_details": {"audio_tokens": 150},
        },
        # 700 text of which 100 cached; 50 text out
        {"input_uncached": 600, "cache_read": 100, "input_audio": 300, "output": 50, "output_audio": 150},
    ),
    "cached tokens beyond the text must be audio": (
        {**CHAT, "prompt_tokens_details": {"audio_tokens": 600, "cached_tokens": 500}},
        # 400 text, all cached; 100 of the cached are audio, 500 audio are fresh
        {"cache_read": 400, "cache_read_audio": 100, "input_audio": 500, "output": 200},
    ),
    "null detail objects are no details": (
        {**CHAT, "prompt_tokens_details": None, "completion_tokens_details": None},
        {"input_uncached": 1000, "output": 200},
    ),
    "deepseek hit and miss": (
        {**CHAT, "prompt_cache_hit_tokens": 896, "prompt_cache_miss_tokens": 104},
        {"input_uncached": 104, "cache_read": 896, "output": 200},
    ),
    "deepseek repeats its hits in the details and they count once": (
        {**CHAT, "prompt_cache_hit_tokens": 896, "prompt_tokens_details": {"cached_tokens": 896}},
        {"input_uncached": 104, "cache_read": 896, "output": 200},
    ),
    "mistral num_cached_tokens": (
        {**CHAT, "num_cached_tokens": 300},
        {"input_uncached": 700, "cache_read": 300, "output": 200},
    ),
    "moonshot cached_tokens at the top": (
        {**CHAT, "cached_tokens": 300},
        {"input_uncached": 700, "cache_read": 300, "output": 200},
    ),
    "litellm style: prompt includes anthropic reads and writes": (
        {
            **CHAT,
            "prompt_tokens_details": {"cached_tokens": 300, "cache_creation_tokens": 200},
            "cache_read_input_tokens": 300,
            "cache_creation_input_tokens": 200,
        },
        {"input_uncached": 500, "cache_read": 300, "cache_write_unknown": 200, "output": 200},
    ),
    "gemini behind the compatible endpoint hides thinking in the total": (
        {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
        # 109 - 35 - 12 = 62
        {"input_uncached": 35, "output": 74, "reasoning": 62},
    ),
    "xai puts reasoning outside completion": (
        {**CHAT, "total_tokens": 1500, "completion_tokens_details": {"reasoning_tokens": 300}},
        {"input_uncached": 1000, "output": 500, "reasoning": 300},
    ),
    "embeddings have no completion": ({"prompt_tokens": 8, "total_tokens": 8}, {"embedding_input": 8}),
    "voyage gives a total alone": ({"total_tokens": 8}, {"embedding_input": 8}),
    "openai responses": (
        {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100},
            "output_tokens": 200,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 1200,
        },
        {"input_uncached": 500, "cache_read": 400, "cache_write_unknown": 100, "output": 200, "reasoning": 64},
    ),
    "openai images are image tokens out": (
        {
            "input_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens": 4160,
            "total_tokens": 4210,
        },
        {"input_uncached": 10, "input_image": 40, "output_image": 4160},
    ),
    "transcription billed by tokens": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        {"input_uncached": 4, "input_audio": 10, "output": 45},
    ),
    "realtime splits its cached tokens": (
        {
            "input_tokens": 100,
            "input_token_details": {
                "text_tokens": 60,
                "audio_tokens": 40,
                "cached_tokens": 50,
                "cached_tokens_details": {"text_tokens": 30, "audio_tokens": 20},
            },
            "output_tokens": 30,
            "output_token_details": {"text_tokens": 10, "audio_tokens": 20},
            "total_tokens": 130,
        },
        {
            "input_uncached": 30,
            "cache_read": 30,
            "cache_read_audio": 20,
            "input_audio": 20,
            "output": 10,
            "output_audio": 20,
        },
    ),
    "anthropic classes stand side by side and the total of writes is not added to its split": (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 1000,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 20},
        },
        {
            "input_uncached": 10,
            "cache_read": 1000,
            "cache_write_5m": 100,
            "cache_write_1h": 200,
            "output": 50,
            "reasoning": 20,
        },
    ),
    "old anthropic objects have no split": (
        {"input_tokens": 4, "cache_creation_input_tokens": 1165, "cache_read_input_tokens": 0, "output_tokens": 221},
        {"input_uncached": 4, "cache_write_unknown": 1165, "output": 221},
    ),
    "anthropic writes beyond their split are unknown": (
        {
            "input_tokens": 4,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 2,
        },
        {"input_uncached": 4, "cache_write_5m": 70, "cache_write_unknown": 30, "output": 2},
    ),
    "a bare input and output pair means the same for anthropic and openai": (
        {"input_tokens": 11, "output_tokens": 7},
        {"input_uncached": 11, "output": 7},
    ),
    "gemini thoughts are outside candidates, tool prompts outside the prompt": (
        {
            "promptTokenCount": 209,
            "candidatesTokenCount": 206,
            "thoughtsTokenCount": 131,
            "toolUsePromptTokenCount": 286,
            "totalTokenCount": 832,
        },
        {"input_uncached": 209, "input_tool_use": 286, "output": 337, "reasoning": 131},
    ),
    "gemini cached video call with both splits": (
        {
            "promptTokenCount": 3297,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 83},
                {"modality": "VIDEO", "tokenCount": 2893},
                {"modality": "AUDIO", "tokenCount": 321},
            ],
            "cachedContentTokenCount": 2918,
            "cacheTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 284},
                {"modality": "TEXT", "tokenCount": 73},
                {"modality": "VIDEO", "tokenCount": 2561},
            ],
            "candidatesTokenCount": 55,
            "thoughtsTokenCount": 95,
            "totalTokenCount": 3447,
        },
        # text 83 - 73; audio 321 - 284; video 2893 - 2561; cached text and video 73 + 2561
        {
            "input_uncached": 10,
            "cache_read": 2634,
            "cache_read_audio": 284,
            "input_audio": 37,
            "input_video": 332,
            "output": 150,
            "reasoning": 95,
        },
    ),
    "gemini image output, and what the details leave out is text": (
        {
            "promptTokenCount": 33,
            "candidatesTokenCount": 1780,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
            "thoughtsTokenCount": 529,
            "totalTokenCount": 2342,
        },
        # 1780 - 1120 + 529
        {"input_uncached": 33, "output_image": 1120, "output": 1189, "reasoning": 529},
    ),
    "gemini documents are image tokens": (
        {
            "promptTokenCount": 345,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 87},
                {"modality": "DOCUMENT", "tokenCount": 258},
            ],
            "candidatesTokenCount": 5,
            "totalTokenCount": 350,
        },
        {"input_uncached": 87, "input_image": 258, "output": 5},
    ),
    "gemini embeddings report a prompt alone": (
        {"promptTokenCount": 7, "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 7}]},
        {"embedding_input": 7},
    ),
    "gemini live reports a response": (
        {
            "promptTokenCount": 20,
            "responseTokenCount": 90,
            "responseTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 80},
                {"modality": "TEXT", "tokenCount": 10},
            ],
            "totalTokenCount": 110,
        },
        {"input_uncached": 20, "output": 10, "output_audio": 80},
    ),
    "bedrock counts its cache under two names and once": (
        {
            "inputTokens": 22,
            "outputTokens": 13,
            "totalTokens": 2527,
            "cacheReadInputTokens": 0,
            "cacheReadInputTokenCount": 0,
            "cacheWriteInputTokens": 2492,
            "cacheWriteInputTokenCount": 2492,
        },
        {"input_uncached": 22, "cache_write_unknown": 2492, "output": 13},
    ),
    "bedrock cache details give the time to live": (
        {
            "inputTokens": 3,
            "outputTokens": 61,
            "cacheReadInputTokens": 2074,
            "cacheWriteInputTokens": 300,
            "cacheDetails": [{"ttl": "5m", "inputTokens": 200}, {"ttl": "1h", "inputTokens": 90}],
        },
        {
            "input_uncached": 3,
            "cache_read": 2074,
            "cache_write_5m": 200,
            "cache_write_1h": 90,
            "cache_write_unknown": 10,
            "output": 61,
        },
    ),
    "bedrock stream metrics": (
        {"inputTokenCount": 4, "outputTokenCount": 50, "cacheReadInputTokenCount": 18131, "invocationLatency": 7275},
        {"input_uncached": 4, "cache_read": 18131, "output": 50},
    ),
    "cohere bills billed_units": (
        {
            "billed_units": {"input_tokens": 431, "output_tokens": 661},
            "tokens": {"input_tokens": 2190, "output_tokens": 1257},
            "cached_tokens": 400,
        },
        {"input_uncached": 431, "output": 661},
    ),
    "cohere embeddings have no output": ({"billed_units": {"input_tokens": 4}}, {"embedding_input": 4}),
    "more cached than prompt stays negative for the contract to name": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 15},
        },
        {"input_uncached": -5, "cache_read": 15, "output": 1},
    ),
}


@pytest.mark.parametrize("situation", CASES)
def test_usage_object_becomes_disjoint_leaves(situation: str, tmp_path: Path) -> None:
    usage, expected = CASES[situation]
    row = _only(_read(tmp_path, usage))
    assert row["fault"] is None
    assert _counts(row) == expected


def test_all_families_in_one_file_keep_their_order_and_their_values(tmp_path: Path) -> None:
    rows = _read(tmp_path, *(usage for usage, _ in CASES.values()))
    assert rows["record_number"].to_list() == list(range(1, len(CASES) + 1))
    assert [_counts(row) for row in rows.to_dicts()] == [expected for _, expected in CASES.values()]


def test_google_sdk_objects_in_snake_case_share_a_file_with_openai_objects(tmp_path: Path) -> None:
    sdk = {
        "prompt_token_count": 345,
        "prompt_tokens_details": [
            {"modality": "MediaModality.TEXT", "token_count": 87},
            {"modality": "AUDIO", "token_count": 258},
        ],
        "cached_content_token_count": 50,
        "cache_tokens_details": [{"modality": "TEXT", "token_count": 50}],
        "candidates_token_count": 5,
        "thoughts_token_count": 2,
        "total_token_count": 352,
        "traffic_type": "TrafficType.ON_DEMAND_FLEX",
    }
    chat = {**CHAT, "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 100}}
    rows = _read(tmp_path, sdk, chat, sdk=True).to_dicts()
    assert _counts(rows[0]) == {
        "input_uncached": 37,  # 87 - 50
        "cache_read": 50,
        "input_audio": 258,
        "output": 7,
        "reasoning": 2,
    }
    assert rows[0]["usage_tier"] == "on_demand_flex"
    assert _counts(rows[1]) == {"input_uncached": 500, "cache_read": 400, "input_audio": 100, "output": 200}


def test_a_wrong_value_inside_such_a_shared_field_is_named(tmp_path: Path) -> None:
    chat = {**CHAT, "prompt_tokens_details": {"cached_tokens": "many"}}
    assert _only(_read(tmp_path, chat, sdk=True))["fault"] == "bad_token_count"


def test_an_embedding_model_with_a_zero_completion_is_an_embedding(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}
    assert _counts(_only(_read(tmp_path, usage, model="mistral-embed"))) == {"embedding_input": 9}
    assert _counts(_only(_read(tmp_path, usage, model="mistral-large"))) == {"input_uncached": 9}
