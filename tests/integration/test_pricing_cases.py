"""The published pricing cases through the whole pipeline: a log in, the mart's dollars out.

Each case becomes one log line in its provider's own words and one feature named after the case.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.nights import home_settings, land, night, published

pytestmark = pytest.mark.real_data

# T54 states two totals of a week of somebody's Claude Code logs without the tokens behind them: no log to land.
NOT_A_LOG = {"T54"}


def openai_usage(usage: dict[str, Any]) -> dict[str, object]:
    details = {"cached_tokens": usage.get("cache_read", 0), "cache_write_tokens": usage.get("cache_write", 0)}
    return {
        "prompt_tokens": usage["input_total"],
        "completion_tokens": usage["output"],
        "total_tokens": usage["input_total"] + usage["output"],
        "prompt_tokens_details": details,
    }


def anthropic_usage(usage: dict[str, Any]) -> dict[str, object]:
    native: dict[str, object] = {
        "input_tokens": usage["input_uncached"],
        "cache_read_input_tokens": usage.get("cache_read", 0),
        "cache_creation_input_tokens": usage.get("cache_write_5m", 0),
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.get("cache_write_5m", 0),
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": usage["output"],
    }
    if "web_search" in usage:
        native["server_tool_use"] = {"web_search_requests": usage["web_search"]}
    return native


def converse_usage(usage: dict[str, Any]) -> dict[str, object]:
    tokens = usage["input_uncached"], usage["output"]
    return {"inputTokens": tokens[0], "outputTokens": tokens[1], "totalTokens": sum(tokens)}


def gemini_usage(usage: dict[str, Any]) -> dict[str, object]:
    native = {
        "promptTokenCount": usage["input_total"],
        "candidatesTokenCount": usage.get("candidates", usage.get("output")),
    }
    if "thoughts" in usage:
        native["thoughtsTokenCount"] = usage["thoughts"]
    return native


def openrouter_usage(cost: str) -> dict[str, object]:
    return {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cost": cost, "is_byok": False}


WORDS = {
    "openai": openai_usage,
    "deepseek": openai_usage,
    "anthropic": anthropic_usage,
    "aws_bedrock": converse_usage,
    "google": gemini_usage,
}


def log_lines(case: dict[str, Any]) -> list[dict[str, object]]:
    usage = case["usage"]
    line: dict[str, object] = {"timestamp": case["at"], "feature": case["id"], "service_tier": case["service_tier"]}
    if case["id"] == "T55":
        # ten calls that OpenRouter itself says cost ten cents each
        same = {"provider": "openrouter", "model": "some/model", "timestamp": "2026-11-01T00:00:00Z", "feature": "T55"}
        return [{**same, "request_id": f"gen-{n}", "usage": openrouter_usage("0.10")} for n in range(usage["rows"])]
    line |= {"provider": case["provider"].replace("-", "_"), "model": case["model"]}
    if "reported_cost" in usage:
        return [{**line, "usage": openrouter_usage(usage["reported_cost"])}]
    native = WORDS[str(line["provider"])](usage)
    if "served_tier" in usage:
        body = {"id": "chatcmpl-1", "model": case["model"], "service_tier": usage["served_tier"], "usage": native}
        return [{**line, "service_tier": usage["requested_tier"], "response": body}]
    return [{**line, "usage": native}]


def test_every_published_case_comes_out_of_the_mart_exactly(tmp_path: Path, shared_cases: Path) -> None:
    cases = [c for c in json.loads((shared_cases / "pricing_cases.json").read_text()) if c["id"] not in NOT_A_LOG]
    lines = []
    for case in cases:
        for line in log_lines(case):
            usage = json.dumps(line).replace('"cost": "', '"cost": ').replace('", "is_byok"', ', "is_byok"')
            lines.append(usage)
    land(tmp_path, "response_log/cases.jsonl", "\n".join(lines) + "\n")
    settings = home_settings(tmp_path)
    night(settings)
    with published(settings) as marts:
        rows = marts.sql(
            "select feature, list_cost_usd, contracted_cost_usd, unpriced_tokens, total_tokens"
            " from mart__feature_cost_daily"
        ).fetchall()
        listed = {row[0] for row in marts.sql("select model from mart__unpriced_usage").fetchall()}
    found = {feature: (listing, contracted, unpriced, total) for feature, listing, contracted, unpriced, total in rows}
    wrong = {}
    for case in cases:
        expected = None if case["expected_usd"] is None else Decimal(case["expected_usd"])
        listing, contracted, unpriced, total = found[case["id"]]
        if (listing, contracted) != (expected, expected):
            wrong[case["id"]] = (case["desc"], expected, listing, contracted)
        if expected is None:
            assert unpriced == total > 0
            assert case["model"] in listed
    assert not wrong
