"""The langfuse connector: observations of every export form."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.langfuse import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.reading import Reading, land, read_log


def observation(**changes: Any) -> dict[str, Any]:
    """One GENERATION as the API gives it."""
    return {
        "id": "obs-1",
        "traceId": "t-1",
        "type": "GENERATION",
        "startTime": "2026-10-01T12:00:00.123Z",
        "updatedAt": "2026-10-01T12:00:05.000Z",
        "level": "DEFAULT",
        "model": "gpt-4o",
        "usageDetails": {"input": 100, "output": 40, "total": 140},
        "costDetails": {"total": 0.5},
        "metadata": {},
        **changes,
    }


def reading(tmp_path: Path, *records: Any) -> Reading:
    path = tmp_path / "observations.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return read_log(CONNECTOR, land(path, "langfuse"))


def document(tmp_path: Path, content: Any, *, indent: int | None = 2) -> Reading:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(content, indent=indent))
    return read_log(CONNECTOR, land(path, "langfuse"))


def tokens(tmp_path: Path, details: dict[str, Any], **changes: Any) -> dict[str, int]:
    """The leaves above zero that one map of usage details gives."""
    row = reading(tmp_path, observation(usageDetails=details, **changes)).usage.row(0, named=True)
    return {name: value for name, value in row.items() if name.endswith("_tokens") and value}


class TestWhatCounts:
    def test_an_agent_that_repeats_its_childs_usage_counts_once(self, tmp_path: Path) -> None:
        # a saved trace of Microsoft's framework: AGENT 631/35 repeats its first GENERATION
        usage = {"input": 631, "output": 35, "total": 666}
        got = reading(
            tmp_path,
            observation(id="agent", type="AGENT", usageDetails=usage),
            observation(id="call", usageDetails=usage),
            observation(id="span", type="SPAN", usageDetails={}),
        )
        assert got.column("request_id") == ["call"]
        assert got.not_usage == 2

    def test_embeddings_are_calls_with_their_own_leaf(self, tmp_path: Path) -> None:
        row = observation(type="EMBEDDING", model="text-embedding-3-small", usageDetails={"input": 9, "total": 9})
        got = reading(tmp_path, row).usage.row(0, named=True)
        assert (got["embedding_input_tokens"], got["input_uncached_tokens"]) == (9, 0)

    def test_the_ui_writes_zero_for_unknown_usage(self, tmp_path: Path) -> None:
        unknown = {"usageDetails": {}, "inputUsage": 0, "outputUsage": 0, "totalUsage": 0}
        got = reading(tmp_path, observation(**unknown), observation(**unknown, level="ERROR"))
        assert got.reasons == [(1, "missing_usage", "usageDetails")]
        assert got.column("status") == ["failure"]

    def test_inferred_and_provided_costs_are_ignored(self, tmp_path: Path) -> None:
        assert reading(tmp_path, observation(totalCost=1.0)).column("reported_cost_usd") == [None]

    def test_the_latest_update_has_the_highest_rank(self, tmp_path: Path) -> None:
        got = reading(tmp_path, observation(), observation(updatedAt="2026-10-01T13:00:00Z"))
        first, second = got.column("merge_rank")
        assert second - first == 3_595_000_000  # 59 min 55 s in microseconds
        assert CONNECTOR.merge.on_conflict == "largest_rank"


class TestUsageDetails:
    def test_gemini_reasoning_inside_output(self, tmp_path: Path) -> None:
        # a saved trace: total 2061 = input 6 + output 2055, of which 1104 reasoning
        details = {"total": 2061, "input": 6, "completion_details.reasoning": 1104, "output": 2055}
        assert tokens(tmp_path, details) == {
            "input_uncached_tokens": 6,
            "output_tokens": 2055,
            "reasoning_tokens": 1104,
        }

    def test_inclusive_input_with_a_cache_key_is_recognised_by_its_total(self, tmp_path: Path) -> None:
        details = {
            "input": 100,
            "input_cache_read": 30,
            "input_audio": 20,
            "output": 40,
            "output_audio": 5,
            "total": 140,
        }
        assert tokens(tmp_path, details) == {
            "input_uncached_tokens": 50,
            "cache_read_tokens": 30,
            "input_audio_tokens": 20,
            "output_tokens": 35,
            "output_audio_tokens": 5,
        }

    def test_disjoint_keys_are_recognised_by_their_total(self, tmp_path: Path) -> None:
        details = {"input": 70, "input_cached_tokens": 30, "output": 25, "output_reasoning_tokens": 15, "total": 140}
        assert tokens(tmp_path, details) == {
            "input_uncached_tokens": 70,
            "cache_read_tokens": 30,
            "output_tokens": 40,
            "reasoning_tokens": 15,
        }

    def test_cache_beside_input_and_reasoning_inside_output(self, tmp_path: Path) -> None:
        details = {
            "input": 10,
            "cache_read_input_tokens": 500,
            "cache_creation_input_tokens": 90,
            "output": 40,
            "output_reasoning": 15,
            "total": 640,
        }
        assert tokens(tmp_path, details) == {
            "input_uncached_tokens": 10,
            "cache_read_tokens": 500,
            "cache_write_unknown_tokens": 90,
            "output_tokens": 40,
            "reasoning_tokens": 15,
        }

    def test_without_a_total_keys_stand_beside_unless_they_are_named_details(self, tmp_path: Path) -> None:
        beside = tokens(tmp_path, {"input": 10, "input_cache_read": 5, "output": 1})
        inside = tokens(tmp_path, {"input": 10, "prompt_details.cache_read": 5, "output": 1})
        assert (beside["input_uncached_tokens"], inside["input_uncached_tokens"]) == (10, 5)

    def test_a_total_above_its_parts_is_hidden_thinking(self, tmp_path: Path) -> None:
        # Gemini behind the OpenAI-compatible endpoint: 35 + 12, total 109, so 62 are thinking
        got = tokens(tmp_path, {"input": 35, "output": 12, "total": 109})
        assert got == {"input_uncached_tokens": 35, "output_tokens": 74, "reasoning_tokens": 62}

    def test_a_total_that_fits_no_reading_is_rejected(self, tmp_path: Path) -> None:
        row = observation(usageDetails={"input": 100, "input_cache_read": 30, "output": 40, "total": 99})
        assert reading(tmp_path, row).reasons == [(1, "total_mismatch", "usageDetails")]

    def test_counts_may_be_strings_and_the_map_may_be_text(self, tmp_path: Path) -> None:
        got = reading(tmp_path, observation(usageDetails=json.dumps({"input": "100", "output": "40", "total": "140"})))
        assert (got.column("input_uncached_tokens"), got.column("output_tokens")) == ([100], [40])

    def test_older_exports_have_a_usage_object_with_a_unit(self, tmp_path: Path) -> None:
        old = {"input": 3, "output": 4, "total": 7, "unit": "TOKENS"}
        got = reading(
            tmp_path,
            observation(usageDetails=None, usage=old),
            observation(usageDetails=None, usage={**old, "unit": "CHARACTERS"}),
        )
        assert got.column("output_tokens") == [4]
        assert got.reasons == [(2, "unknown_unit", "usage")]


class TestProvider:
    @pytest.mark.parametrize(
        ("model", "metadata", "provider", "ours"),
        [
            ("gpt-4o", {}, "openai", "gpt-4o"),
            ("o3-mini", {}, "openai", "o3-mini"),
            ("claude-sonnet-4-5", {}, "anthropic", "claude-sonnet-4-5"),
            ("claude-sonnet-4-5", {"ls_provider": "amazon_bedrock"}, "aws_bedrock", "claude-sonnet-4-5"),
            ("gpt-4o", {"attributes": {"gen_ai.system": "az.ai.openai"}}, "azure_openai", "gpt-4o"),
            ("gpt-4o", {"attributes": json.dumps({"llm.provider": "azure"})}, "azure_openai", "gpt-4o"),
            ("gemini-2.0-flash", {"attributes": {"gen_ai.system": "gcp.vertex.agent"}}, "google", "gemini-2.0-flash"),
            ("grok-4", {"ls_provider": "my_wrapper"}, "xai", "grok-4"),
            ("command-r", {}, "cohere", "command-r"),
            ("bedrock/us.anthropic.claude-x-v1:0", {}, "aws_bedrock", "us.anthropic.claude-x-v1:0"),
            ("eu.anthropic.claude-x-v1:0", {}, "aws_bedrock", "eu.anthropic.claude-x-v1:0"),
        ],
    )
    def test_it_comes_from_metadata_or_from_the_name(
        self, tmp_path: Path, model: str, metadata: dict[str, Any], provider: str, ours: str
    ) -> None:
        got = reading(tmp_path, observation(model=model, metadata=metadata)).usage.row(0, named=True)
        assert (got["provider"], got["model"]) == (provider, ours)

    @pytest.mark.parametrize("model", ["llama-3-70b", "gpt-oss-120b", "my-finetune"])
    def test_a_name_that_many_serve_says_nothing(self, tmp_path: Path, model: str) -> None:
        assert reading(tmp_path, observation(model=model)).reasons == [(1, "missing_provider", "model")]


class TestForms:
    def test_a_ui_export_lends_user_session_name_and_tags_of_the_trace(self, tmp_path: Path) -> None:
        trace = {
            "id": "t-1",
            "name": "support-bot",
            "userId": "u1",
            "sessionId": "s1",
            "tags": ["feature:chat", "beta"],
        }
        got = document(tmp_path, {"trace": trace, "observations": [observation(), observation(type="SPAN")]})
        row = got.usage.row(0, named=True)
        assert (row["user_id"], row["session_id"], row["feature_tag"]) == ("u1", "s1", "chat")
        assert row["tags"] == '{"feature":"chat","tag_2":"beta","trace_name":"support-bot"}'
        assert got.not_usage == 1

    @pytest.mark.parametrize("indent", [None, 2])
    def test_one_line_or_many_are_the_same_document(self, tmp_path: Path, indent: int | None) -> None:
        got = document(tmp_path, {"trace": {}, "observations": [observation(), observation(id="b")]}, indent=indent)
        assert got.column("request_id") == ["obs-1", "b"]

    def test_lines_of_whole_traces_number_their_observations_through(self, tmp_path: Path) -> None:
        one = {"trace": {"userId": "u1"}, "observations": [observation(id="a"), observation(id="b")]}
        got = reading(tmp_path, one, "{cut", {"trace": {"userId": "u2"}, "observations": [observation(id="c")]})
        assert got.usage.select("record_number", "request_id", "user_id").rows() == [
            (1, "a", "u1"),
            (2, "b", "u1"),
            (4, "c", "u2"),
        ]
        assert got.reasons == [(3, "malformed_json", None)]

    def test_api_pages_and_arrays(self, tmp_path: Path) -> None:
        assert document(tmp_path, {"data": [observation()], "meta": {"page": 1}}).column("request_id") == ["obs-1"]
        assert document(tmp_path, [observation(), observation(id="b")]).column("request_id") == ["obs-1", "b"]

    def test_the_blob_export_writes_snake_case(self, tmp_path: Path) -> None:
        row = {
            "id": "obs-9",
            "type": "GENERATION",
            "start_time": "2026-10-01 12:00:00.123",
            "updated_at": "2026-10-01 12:00:05.000",
            "provided_model_name": "gpt-4o",
            "usage_details": {"input": 1, "output": 2, "total": 3},
            "user_id": "u9",
            "session_id": "s9",
            "environment": "staging",
            "prompt_name": "greeting",
        }
        got = reading(tmp_path, row).usage.row(0, named=True)
        assert got["started_at"] == datetime(2026, 10, 1, 12, 0, 0, 123000, tzinfo=UTC)
        assert (got["model"], got["user_id"], got["session_id"]) == ("gpt-4o", "u9", "s9")
        assert got["tags"] == '{"environment":"staging","prompt_name":"greeting"}'

    def test_ingestion_events_carry_a_body_with_a_local_offset_and_the_providers_id(self, tmp_path: Path) -> None:
        body = {
            "id": "time-14-13-16-469836_chatcmpl-3803a9e9",
            "startTime": "2026-05-26T14:13:16.469836-07:00",
            "model": "gpt-4o",
            "usageDetails": {"input": 10, "output": 10, "total": 20},
        }
        events = [
            {"type": "trace-create", "timestamp": "2026-05-26T21:13:16Z", "body": {"id": "t"}},
            {"type": "generation-create", "timestamp": "2026-05-26T21:13:17Z", "body": body},
        ]
        got = document(tmp_path, {"batch": events, "metadata": {}})
        assert got.column("request_id") == ["chatcmpl-3803a9e9"]
        assert got.column("started_at") == [datetime(2026, 5, 26, 21, 13, 16, 469836, tzinfo=UTC)]
        assert got.not_usage == 1

    def test_a_document_of_something_else_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FileRejectedError) as caught:
            document(tmp_path, {"hello": {"a": 1}})
        assert caught.value.code == "unknown_document"


def test_unreadable_records_are_named_one_by_one(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        observation(id="good"),
        "{broken",
        observation(type=None),
        observation(startTime=None),
        observation(startTime="noon"),
        observation(model=None),
        observation(usageDetails="[1]"),
        observation(usageDetails={"input": 1.5, "output": 1, "total": 2.5}),
    )
    assert got.reasons == [
        (2, "malformed_json", None),
        (3, "missing_type", "type"),
        (4, "missing_timestamp", "startTime"),
        (5, "bad_timestamp", "startTime"),
        (6, "missing_model", "model"),
        (7, "type_error", "usageDetails"),
        (8, "bad_token_count", "input_uncached_tokens"),
    ]


def test_planted_secrets_reach_no_frame(tmp_path: Path) -> None:
    secret = "CANARY-7f3a"
    planted = {
        "input": [{"content": secret}],
        "output": secret,
        "name": secret,
        "statusMessage": secret,
        "metadata": {"attributes": {"llm.prompts": secret, "gen_ai.prompt": secret}, "user_email": secret},
        "modelParameters": {"system": secret},
    }
    got = reading(tmp_path, observation(**planted), observation(**planted, model="secretive"))
    assert len(got.usage) == len(got.rejected) == 1
    assert secret not in got.text()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "calls", "others"),
    [
        # (provider, input, output) of every GENERATION, as printed in the trace
        ("google-adk-2025-08-28", [("google", 39, 6), ("google", 28, 3)], 3),
        ("google-vertex-tools-langchain-2025-09-19", [("google", 1200, 15)], 0),
        ("langgraph-2025-08-22", [("openai", 60, 15), ("openai", 108, 51)], 7),
        ("llamaindex-2025-06-05", [("openai", 13, 81)], 1),
        ("openai-agents-2025-09-30", [("openai", 85, 29), ("openai", 55, 15)], 3),
        ("openai-assistants-2024-05-29", [("openai", 49, 40)], 3),
    ],
)
def test_saved_traces_of_real_frameworks(
    shared_data: Path, name: str, calls: list[tuple[str, int, int]], others: int
) -> None:
    got = read_log(CONNECTOR, land(shared_data / f"formats/langfuse/{name}.json", "langfuse"))
    assert got.usage.select("provider", "input_uncached_tokens", "output_tokens").rows() == calls
    assert got.not_usage == others
    assert got.reasons == []


@pytest.mark.real_data
def test_the_recorded_ingestion_of_a_proxy(shared_data: Path) -> None:
    path = shared_data / "formats/litellm/langfuse_ingestion_completion_with_bedrock_call.json"
    row = read_log(CONNECTOR, land(path, "langfuse")).usage.row(0, named=True)
    assert row["request_id"] == "chatcmpl-3803a9e9-aa68-4493-94d9-247f354830d6"
    assert (row["provider"], row["model"]) == ("aws_bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0")
    assert (row["input_uncached_tokens"], row["output_tokens"]) == (10, 10)
