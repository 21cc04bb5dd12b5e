"""What a native usage object says beyond its leaves: who bills, which model, what it cost. Values worked by hand."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.native.usage import SDK_USAGE_SHAPE, USAGE_SHAPE, read_usage
from pipelines.connectors.reading.json_lines import TEXT, read_json_lines
from pipelines.quantities import METERS, TOKEN_COLUMNS


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


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 12.5, "completion_tokens": 1},
        {"input_tokens": 1e300, "output_tokens": 1},
        {"inputTokens": 2**53, "outputTokens": 1},
        {"promptTokenCount": 10, "candidatesTokenCount": 0.5, "totalTokenCount": 10.5},
    ],
)
def test_counts_that_are_not_whole_or_too_large_are_named(usage: dict[str, Any], tmp_path: Path) -> None:
    assert _only(_read(tmp_path, usage))["fault"] == "bad_token_count"


def test_an_object_of_no_known_family_is_named(tmp_path: Path) -> None:
    rows = _read(tmp_path, {}, {"tokens_used": 5}, CHAT)
    assert rows["fault"].to_list() == ["unknown_usage_shape", "unknown_usage_shape", None]


def test_meters_ride_along(tmp_path: Path) -> None:
    anthropic = {
        "input_tokens": 1,
        "output_tokens": 1,
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2},
    }
    rows = _read(tmp_path, anthropic, {"type": "duration", "seconds": 12.5}).to_dicts()
    assert {m: rows[0][m] for m in METERS if rows[0][m]} == {"web_search_requests": 3, "web_fetch_requests": 2}
    assert {m: rows[1][m] for m in METERS if rows[1][m]} == {"audio_seconds": Decimal("12.5")}
    assert rows[1]["fault"] is None


def test_anthropic_speed_and_geography_are_price_dimensions(tmp_path: Path) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": 0, "service_tier": "standard"}
    rows = _read(
        tmp_path,
        {**usage, "inference_geo": "us", "speed": "fast"},
        {**usage, "inference_geo": "global", "speed": "standard"},
        {**usage, "inference_geo": "not_available", "service_tier": "batch"},
        provider="anthropic",
    )
    assert rows["usage_tier"].to_list() == ["fast", "standard", "batch"]
    assert rows["usage_region"].to_list() == ["us", None, None]


def test_compaction_is_billed_though_the_top_level_leaves_it_out(tmp_path: Path) -> None:
    usage = {
        "input_tokens": 180,
        "output_tokens": 8,
        "iterations": [
            {
                "type": "compaction",
                "input_tokens": 100,
                "cache_creation_input_tokens": 55096,
                "cache_creation": {"ephemeral_5m_input_tokens": 55096},
                "output_tokens": 82,
            },
            {"type": "message", "input_tokens": 180, "output_tokens": 8},
        ],
    }
    row = _only(_read(tmp_path, usage, provider="anthropic", model="claude-sonnet-5"))
    assert _counts(row) == {"input_uncached": 280, "cache_write_5m": 55096, "output": 90}
    assert (row["part"], row["requests"], row["model"]) == (0, 1, "claude-sonnet-5")


def test_an_advisor_of_another_model_is_a_second_row_of_the_same_record(tmp_path: Path) -> None:
    plain = {"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 0}
    usage = {
        "input_tokens": 2390,
        "output_tokens": 121,
        "output_tokens_details": {"thinking_tokens": 28},
        "server_tool_use": {"web_search_requests": 1},
        "iterations": [
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22},
            {"type": "message", "input_tokens": 1128, "output_tokens": 110},
            {"type": "message", "input_tokens": 1262, "output_tokens": 11},
        ],
    }
    rows = _read(tmp_path, plain, usage, {**plain, "iterations": []}, provider="anthropic", model="claude-sonnet-5")
    told = [
        (r["record_number"], r["part"], r["requests"], r["model"], _counts(r), r["web_search_requests"])
        for r in rows.to_dicts()
    ]
    assert told == [
        (1, 0, 1, "claude-sonnet-5", {"input_uncached": 5, "output": 6}, None),
        (2, 0, 1, "claude-sonnet-5", {"input_uncached": 2390, "output": 121, "reasoning": 28}, 1),
        (2, 1, 0, "claude-opus-4-8", {"input_uncached": 2518, "output": 22}, 0),
        (3, 0, 1, "claude-sonnet-5", {"input_uncached": 5, "output": 6}, None),
    ]


def test_openrouter_reports_the_exact_cost(tmp_path: Path) -> None:
    costs = [0.000001979964, 4.1400000000000003e-05, 0, 2.5e-12, None]
    rows = _read(tmp_path, *({**CHAT, "cost": cost} for cost in costs), provider="openrouter")
    # 4.14…03e-05 and 2.5e-12 are rounded half to even at the twelfth decimal
    assert rows["reported_cost_usd"].to_list() == [
        Decimal("0.000001979964"),
        Decimal("0.000041400000"),
        Decimal(0),
        Decimal("0.000000000002"),
        None,
    ]


def test_only_who_bills_may_report_a_cost(tmp_path: Path) -> None:
    assert _only(_read(tmp_path, {**CHAT, "cost": 0.5}, provider="openai"))["reported_cost_usd"] is None


def test_xai_reports_ticks_of_which_ten_billion_are_a_dollar(tmp_path: Path) -> None:
    # docs.x.ai: 37756000 ticks = $0.0037756
    row = _only(_read(tmp_path, {**CHAT, "cost_in_usd_ticks": 37756000}, provider="xai"))
    assert row["reported_cost_usd"] == Decimal("0.0037756")


def test_perplexity_reports_a_cost_object(tmp_path: Path) -> None:
    cost = {"input_tokens_cost": 0.1, "request_cost": 0.005, "total_cost": 0.0053}
    row = _only(_read(tmp_path, {**CHAT, "cost": cost, "num_search_queries": 4}, provider="perplexity"))
    assert row["reported_cost_usd"] == Decimal("0.0053")
    assert row["web_search_requests"] == 4


def test_a_cost_that_is_no_number_is_named(tmp_path: Path) -> None:
    rows = _read(tmp_path, {**CHAT, "cost": "free"}, CHAT, provider="openrouter")
    assert rows["fault"].to_list() == ["bad_reported_cost", None]


def test_a_byok_call_is_the_fee_of_openrouter_and_the_usage_of_the_upstream_provider(tmp_path: Path) -> None:
    byok = {**CHAT, "cost": 0.0001, "is_byok": True}
    plain = {**CHAT, "cost": 0.002, "is_byok": False}
    rows = _read(tmp_path, byok, plain, provider="openrouter", model="mistralai/mistral-large-2512:nitro")
    columns = ("record_number", "part", "requests", "provider", "model", "reported_cost_usd")
    assert [(*(r[c] for c in columns), _counts(r)) for r in rows.to_dicts()] == [
        (1, 0, 1, "openrouter", "mistralai/mistral-large-2512:nitro", Decimal("0.0001"), {}),
        (1, 1, 0, "mistral", "mistral-large-2512", None, {"input_uncached": 1000, "output": 200}),
        (
            2,
            0,
            1,
            "openrouter",
            "mistralai/mistral-large-2512:nitro",
            Decimal("0.002"),
            {"input_uncached": 1000, "output": 200},
        ),
    ]


def test_the_body_names_the_upstream_provider_better_than_the_model_prefix(tmp_path: Path) -> None:
    byok = {**CHAT, "cost": 0, "is_byok": True}
    rows = _read(
        tmp_path, byok, provider="openrouter", model="anthropic/claude-sonnet-5", upstream="Amazon Bedrock"
    ).to_dicts()
    assert (rows[1]["provider"], rows[1]["model"]) == ("aws_bedrock", "claude-sonnet-5")
