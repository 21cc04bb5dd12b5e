"""The line around a usage object: times, identifiers, whole bodies, rejects. Expected values worked by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.base import USAGE_SCHEMA, Batch, LandedFile
from pipelines.connectors.response_log import CONNECTOR

USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
LINE = {"timestamp": "2026-10-01T12:00:00Z", "provider": "openai", "model": "gpt-5", "usage": USAGE}


def _land(folder: Path, *lines: dict[str, Any] | str) -> LandedFile:
    path = folder / "log.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts))
    return LandedFile("response_log", path, "log.jsonl", "0" * 16, account="2026-10")


def _read(folder: Path, *lines: dict[str, Any] | str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    file = _land(folder, *lines)
    batches = list(CONNECTOR.read(file))
    assert all(batch.usage is not None and dict(batch.usage.schema) == USAGE_SCHEMA for batch in batches)
    rows = [row for batch in batches if batch.usage is not None for row in batch.usage.to_dicts()]
    rejected = [row for batch in batches for frame in batch.rejected for row in frame.to_dicts()]
    _account_for_every_record(file, batches, rows, rejected)
    return rows, sorted(rejected, key=lambda row: row["record_number"])


def _account_for_every_record(
    file: LandedFile, batches: list[Batch], rows: list[dict[str, Any]], rejected: list[dict[str, Any]]
) -> None:
    good = {row["record_number"] for row in rows}
    bad = {row["record_number"] for row in rejected}
    assert not good & bad
    assert CONNECTOR.count_records(file) == len(good) + len(bad) + sum(batch.not_usage for batch in batches)


def _one(folder: Path, line: dict[str, Any]) -> dict[str, Any]:
    rows, rejected = _read(folder, line)
    assert rejected == []
    assert len(rows) == 1
    return rows[0]


def test_a_line_with_everything_fills_every_column(tmp_path: Path) -> None:
    row = _one(
        tmp_path,
        {
            **LINE,
            "provider": "Azure",
            "request_id": "req-1",
            "feature": "chat-assistant",
            "user_id": 42,
            "session_id": "s-1",
            "api_key_id": "key-7",
            "account": "project-3",
            "service_tier": "flex",
            "region": "EU-West-1",
            "user_group": "pro",
            "status": "OK",
            "tags": {"team": "core", "build": 7, "nested": {"a": 1}},
        },
    )
    expected = {
        "started_at": datetime(2026, 10, 1, 12, tzinfo=UTC),
        "provider": "azure_openai",
        "model": "gpt-5",
        "request_id": "req-1",
        "feature_tag": "chat-assistant",
        "user_id": "42",
        "session_id": "s-1",
        "api_key_id": "key-7",
        "account": "project-3",
        "service_tier": "flex",
        "region": "eu-west-1",
        "user_group": "pro",
        "status": "success",
        "tags": '{"build":"7","team":"core"}',
        "input_uncached_tokens": 10,
        "output_tokens": 2,
        "requests": 1,
        "part": 0,
    }
    assert {name: row[name] for name in expected} == expected


def test_what_a_line_leaves_out_gets_its_default_and_never_the_folder_name(tmp_path: Path) -> None:
    row = _one(tmp_path, {**LINE, "feature_tag": "f", "feature": "", "user_id": ""})
    assert (row["account"], row["service_tier"], row["region"]) == ("default", "standard", "unspecified")
    assert (row["request_id"], row["user_id"], row["tags"], row["reported_cost_usd"]) == (None, None, None, None)
    assert row["feature_tag"] == "f"


NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
EPOCH = int(NOON.timestamp())


@pytest.mark.parametrize(
    ("timestamp", "instant"),
    [
        ("2026-10-01T12:00:00Z", NOON),
        ("2026-10-01 12:00:00", NOON),
        ("2026-10-01T05:00:00-07:00", NOON),
        ("2026-10-01T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        (EPOCH, NOON),
        (str(EPOCH), NOON),
        (EPOCH + 0.25, NOON.replace(microsecond=250_000)),
        (EPOCH * 1_000 + 5, NOON.replace(microsecond=5_000)),
        (EPOCH * 1_000_000 + 7, NOON.replace(microsecond=7)),
        (EPOCH * 1_000_000_000 + 9_000, NOON.replace(microsecond=9)),
    ],
)
def test_timestamps_are_text_or_epoch_numbers(timestamp: object, instant: datetime, tmp_path: Path) -> None:
    assert _one(tmp_path, {**LINE, "timestamp": timestamp})["started_at"] == instant


def test_several_kinds_of_timestamp_can_stand_in_one_file(tmp_path: Path) -> None:
    rows, rejected = _read(tmp_path, {**LINE, "timestamp": EPOCH}, LINE, {**LINE, "timestamp": EPOCH * 1_000})
    assert rejected == []
    assert [row["started_at"] for row in rows] == [NOON, NOON, NOON]


@pytest.mark.parametrize(
    ("line", "reason", "column"),
    [
        ("not json", "malformed_json", None),
        ("[1]", "malformed_json", None),
        ({**LINE, "timestamp": None}, "missing_timestamp", "timestamp"),
        ({**LINE, "timestamp": "yesterday"}, "bad_timestamp", "timestamp"),
        ({**LINE, "timestamp": 20261001}, "bad_timestamp", "timestamp"),
        ({**LINE, "timestamp": True}, "bad_timestamp", "timestamp"),
        ({**LINE, "provider": None}, "missing_provider", "provider"),
        ({**LINE, "provider": " "}, "missing_provider", "provider"),
        ({**LINE, "model": None}, "missing_model", "model"),
        ({**LINE, "usage": None}, "missing_usage", "usage"),
        ({**LINE, "usage": {}}, "unknown_usage_shape", "usage"),
        ({**LINE, "usage": "12 tokens"}, "type_error", "usage"),
        ({**LINE, "usage": {**USAGE, "prompt_tokens": "many"}}, "type_error", "usage"),
        ({**LINE, "usage": {**USAGE, "prompt_tokens": 1.5}}, "bad_token_count", "usage"),
        ({**LINE, "session_id": {"name": "Ada"}}, "type_error", "session_id"),
        ({**LINE, "tags": "a,b"}, "type_error", "tags"),
        ({**LINE, "provider": "openrouter", "usage": {**USAGE, "cost": "free"}}, "bad_reported_cost", "usage"),
    ],
)
def test_a_bad_line_is_rejected_by_name_and_its_neighbours_stay(
    line: dict[str, Any] | str, reason: str, column: str | None, tmp_path: Path
) -> None:
    rows, rejected = _read(tmp_path, LINE, line, LINE)
    assert [row["record_number"] for row in rows] == [1, 3]
    assert [(r["record_number"], r["reason_code"], r["column"]) for r in rejected] == [(2, reason, column)]


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    rows, rejected = _read(tmp_path, LINE, "", "  \t\r", LINE)
    assert ([row["record_number"] for row in rows], rejected) == ([1, 2], [])


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    rows, rejected = _read(tmp_path, json.dumps(LINE) + "\r", json.dumps(LINE) + "\r")
    assert (len(rows), rejected) == (2, [])


def test_an_empty_file_gives_no_rows(tmp_path: Path) -> None:
    assert _read(tmp_path) == ([], [])


def test_a_failed_call_without_usage_is_a_request_of_zero_tokens(tmp_path: Path) -> None:
    line = {name: value for name, value in LINE.items() if name != "usage"}
    rows, rejected = _read(tmp_path, {**line, "status": "error"}, {**line, "status": "blocked"}, LINE)
    assert rejected == []
    assert [(r["status"], r["requests"], r["input_uncached_tokens"]) for r in rows] == [
        ("failure", 1, 0),
        ("blocked", 1, 0),
        ("success", 1, 10),
    ]


def test_an_unknown_status_is_left_for_the_contract_to_name(tmp_path: Path) -> None:
    assert _one(tmp_path, {**LINE, "status": "Teapot"})["status"] == "teapot"


def test_cached_above_prompt_is_left_negative_for_the_contract(tmp_path: Path) -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 15}}
    assert _one(tmp_path, {**LINE, "usage": usage})["input_uncached_tokens"] == -5


def test_the_body_says_what_was_served(tmp_path: Path) -> None:
    body = {
        "id": "chatcmpl-1",
        "model": "gpt-5-2026-08-07",
        "service_tier": "priority",
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
    row = _one(tmp_path, {**LINE, "request_id": "mine-1", "service_tier": "auto", "response": body})
    assert (row["request_id"], row["model"], row["service_tier"]) == ("chatcmpl-1", "gpt-5-2026-08-07", "priority")
    assert (row["input_uncached_tokens"], row["output_tokens"]) == (7, 3)


def test_a_body_without_id_model_or_usage_leaves_the_logs_own(tmp_path: Path) -> None:
    row = _one(tmp_path, {**LINE, "request_id": "mine-1", "service_tier": "flex", "response": {"object": "list"}})
    assert (row["request_id"], row["model"], row["service_tier"]) == ("mine-1", "gpt-5", "flex")
    assert row["input_uncached_tokens"] == 10


def test_the_tier_in_usage_wins_over_the_requested_one(tmp_path: Path) -> None:
    usage = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 0, "service_tier": "standard"}
    row = _one(tmp_path, {**LINE, "provider": "anthropic", "service_tier": "priority", "usage": usage})
    assert row["service_tier"] == "standard"


def test_served_tier_default_means_standard(tmp_path: Path) -> None:
    row = _one(tmp_path, {**LINE, "service_tier": "flex", "response": {"service_tier": "default", "usage": USAGE}})
    assert row["service_tier"] == "standard"


@pytest.mark.parametrize("tier", ["flex", {"type": "flex"}])
def test_bedrock_writes_its_tier_as_text_or_object(tier: object, tmp_path: Path) -> None:
    body = {"serviceTier": tier, "output": {"message": {}}, "usage": {"inputTokens": 5, "outputTokens": 2}}
    row = _one(tmp_path, {**LINE, "provider": "bedrock", "region": "us-east-1", "response": body})
    assert (row["provider"], row["service_tier"], row["region"]) == ("aws_bedrock", "flex", "us-east-1")
    assert (row["input_uncached_tokens"], row["output_tokens"]) == (5, 2)


@pytest.mark.parametrize("name", ["usageMetadata", "usage_metadata"])
def test_a_gemini_body_is_read_in_both_spellings(name: str, tmp_path: Path) -> None:
    camel = {
        "responseId": "gem-1",
        "modelVersion": "gemini-3-pro",
        "usageMetadata": {
            "promptTokenCount": 9,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 5,
            "totalTokenCount": 16,
            "serviceTier": "flex",
        },
    }
    snake = {
        "response_id": "gem-1",
        "model_version": "gemini-3-pro",
        "usage_metadata": {
            "prompt_token_count": 9,
            "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 4}],
            "candidates_token_count": 2,
            "thoughts_token_count": 5,
            "total_token_count": 16,
            "traffic_type": "ON_DEMAND_FLEX",
        },
    }
    line = {"timestamp": NOON.isoformat(), "provider": "vertex_ai"}
    row = _one(tmp_path, {**line, "response": camel if name == "usageMetadata" else snake})
    assert (row["provider"], row["request_id"], row["model"]) == ("google", "gem-1", "gemini-3-pro")
    assert (row["input_uncached_tokens"], row["input_audio_tokens"], row["service_tier"]) == (5, 4, "flex")
    assert (row["output_tokens"], row["reasoning_tokens"]) == (7, 5)


def test_bodies_and_bare_usage_mix_in_one_file_in_order(tmp_path: Path) -> None:
    gemini = {"modelVersion": "g", "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1}}
    embed = {"id": "e", "meta": {"billed_units": {"input_tokens": 4}}}
    sdk = {"prompt_token_count": 3, "candidates_token_count": 1, "prompt_tokens_details": []}
    lines: list[dict[str, Any] | str] = [
        LINE,
        {**LINE, "response": gemini},
        {**LINE, "response": {"usage": {"input_tokens": 2, "output_tokens": 1}}},
        {**LINE, "response": embed},
        {**LINE, "usage": sdk},
        {**LINE, "usage": None, "status": "failure"},
    ]
    rows, rejected = _read(tmp_path, *lines)
    assert rejected == []
    assert [row["record_number"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["input_uncached_tokens"] for row in rows] == [10, 1, 2, 0, 3, 0]
    assert rows[3]["embedding_input_tokens"] == 4


def test_a_fanned_out_record_is_rejected_whole(tmp_path: Path) -> None:
    steps = [
        {"input_tokens": 1, "output_tokens": 1},
        {"model": "claude-opus-4-8", "input_tokens": 1.5, "output_tokens": 1},
    ]
    line = {**LINE, "usage": {"input_tokens": 1, "output_tokens": 1, "iterations": steps}}
    rows, rejected = _read(tmp_path, line, LINE)
    assert [row["record_number"] for row in rows] == [2]
    assert [(r["record_number"], r["reason_code"]) for r in rejected] == [(1, "bad_token_count")]


def test_served_us_geography_wins_over_the_logs_region(tmp_path: Path) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": 0, "inference_geo": "us"}
    row = _one(tmp_path, {**LINE, "provider": "anthropic", "region": "eu", "usage": usage})
    assert row["region"] == "us"


def test_byok_rows_share_one_request_id(tmp_path: Path) -> None:
    body = {
        "id": "gen-1",
        "model": "google/gemini-2.5-flash",
        "provider": "Google AI Studio",
        "usage": {**USAGE, "cost": 0, "is_byok": True},
    }
    rows, _ = _read(tmp_path, {**LINE, "provider": "openrouter", "response": body})
    assert [(r["provider"], r["model"], r["request_id"], r["part"], r["requests"]) for r in rows] == [
        ("openrouter", "google/gemini-2.5-flash", "gen-1", 0, 1),
        ("google", "gemini-2.5-flash", "gen-1", 1, 0),
    ]
    assert [r["input_uncached_tokens"] for r in rows] == [0, 10]


def test_texts_of_prompts_completions_names_and_keys_reach_no_frame(tmp_path: Path) -> None:
    canary = "CANARY-ada@example.com-sk-live-1"
    body = {
        "id": "x",
        "choices": [{"message": {"content": canary}}],
        "output": [{"content": canary}],
        "usage": {**USAGE, "note": canary, "prompt_tokens_details": {"cached_tokens": 1, "text": canary}},
    }
    secret = {"prompt": canary, "user_name": canary, "email": canary, "api_key": canary, "metadata": {"x": canary}}
    lines: list[dict[str, Any] | str] = [
        {**LINE, **secret, "response": body, "tags": {"t": canary * 10, "deep": {"x": canary}}},
        {**LINE, **secret, "response": {**body, "choices": canary}},
        {**LINE, **secret, "usage": canary},
        {**LINE, "feature": {"x": canary}},
        json.dumps({**LINE, **secret})[:-1],
    ]
    batches = list(CONNECTOR.read(_land(tmp_path, *lines)))
    frames = [frame for batch in batches for frame in (batch.usage, *batch.rejected) if frame is not None]
    assert pl.concat(frame for frame in frames if "model" in frame.columns).height == 2
    assert [frame for frame in frames if canary in frame.write_json()] == []
