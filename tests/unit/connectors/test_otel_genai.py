"""The otel_genai connector: OTLP/JSON traces in every dialect of GenAI attributes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.otel_genai import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.reading import Reading, land, read_log


def value(item: Any) -> dict[str, Any]:
    """An attribute value as OTLP/JSON writes it: integers are strings."""
    if isinstance(item, bool):
        return {"boolValue": item}
    if isinstance(item, int):
        return {"intValue": str(item)}
    if isinstance(item, float):
        return {"doubleValue": item}
    if isinstance(item, list):
        return {"arrayValue": {"values": [value(part) for part in item]}}
    return {"stringValue": item}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(item)} for key, item in attributes.items()]


CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 40,
}


def span(attributes: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "name": "chat gpt-4o",
        "kind": 3,
        # 1759276800 s after the epoch is 2025-10-01T00:00:00Z
        "startTimeUnixNano": "1759276800123456789",
        "endTimeUnixNano": "1759276801000000000",
        "attributes": pairs(CHAT if attributes is None else attributes),
        "status": {},
        **fields,
    }


def request(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    scopes = [{"scope": {"name": "lib"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": {"attributes": pairs(resource or {})}, "scopeSpans": scopes}]}


def reading(tmp_path: Path, *requests: Any) -> Reading:
    path = tmp_path / "traces.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in requests))
    return read_log(CONNECTOR, land(path, "otel_genai"))


def row(tmp_path: Path, attributes: dict[str, Any]) -> dict[str, Any]:
    return reading(tmp_path, request(span(attributes))).usage.row(0, named=True)


def tokens(tmp_path: Path, attributes: dict[str, Any]) -> dict[str, int]:
    found = row(tmp_path, attributes)
    return {name: count for name, count in found.items() if name.endswith("_tokens") and count}


class TestEnvelope:
    def test_string_integers_nanoseconds_and_resource_words(self, tmp_path: Path) -> None:
        resource = {"service.name": "support-bot", "deployment.environment.name": "prod"}
        got = reading(tmp_path, request(span(), resource=resource)).usage.row(0, named=True)
        assert got["started_at"] == datetime(2025, 10, 1, 0, 0, 0, 123456, tzinfo=UTC)
        assert (got["input_uncached_tokens"], got["output_tokens"]) == (100, 40)
        assert got["tags"] == '{"environment":"prod","service":"support-bot"}'
        assert got["request_id"] == "5b8efff798038103d269b633813fc60c:eee19b7ec3c1b174"

    def test_integers_may_also_be_numbers_and_doubles(self, tmp_path: Path) -> None:
        loose = span()
        loose["attributes"] = [
            *pairs({k: v for k, v in CHAT.items() if "usage" not in k}),
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": 7}},
            {"key": "gen_ai.usage.output_tokens", "value": {"doubleValue": 3.0}},
        ]
        got = reading(tmp_path, request(loose)).usage.row(0, named=True)
        assert (got["input_uncached_tokens"], got["output_tokens"]) == (7, 3)

    def test_spans_are_numbered_through_lines_resources_and_scopes(self, tmp_path: Path) -> None:
        first = request(span(spanId="a1"), span({}, spanId="a2"))
        first["resourceSpans"] += request(span(spanId="a3"), resource={"service.name": "other"})["resourceSpans"]
        got = reading(tmp_path, first, "{cut", request(), request(span(spanId="b1")))
        assert got.usage.select("record_number", "tags").rows() == [(1, None), (3, '{"service":"other"}'), (5, None)]
        assert got.reasons == [(4, "malformed_json", None)]
        assert got.not_usage == 1

    def test_a_document_over_many_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "trace.json"
        path.write_text(json.dumps(request(span()), indent=2))
        assert len(read_log(CONNECTOR, land(path, "otel_genai")).usage) == 1

    def test_metric_lines_between_traces_carry_no_usage_and_alone_are_refused(self, tmp_path: Path) -> None:
        metrics = {"resourceMetrics": []}
        got = reading(tmp_path, request(span()), metrics)
        assert (len(got.usage), got.not_usage) == (1, 1)
        with pytest.raises(FileRejectedError) as caught:
            reading(tmp_path, metrics)
        assert caught.value.code == "unknown_document"

    def test_a_long_file_is_read_in_pieces_with_one_numbering(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.connectors import otel_genai

        monkeypatch.setattr(otel_genai, "_PIECE_BYTES", 2000)
        got = reading(tmp_path, *(request(span(spanId=f"{n:016x}")) for n in range(30)))
        assert got.column("record_number") == list(range(1, 31))

    def test_an_error_status_is_a_failure_and_may_lack_counts(self, tmp_path: Path) -> None:
        bare = {k: v for k, v in CHAT.items() if "usage" not in k}
        got = reading(
            tmp_path,
            request(span(bare, status={"code": 2})),
            request(span(bare, status={"code": "STATUS_CODE_ERROR"})),
            request(span({**bare, "error.type": "timeout"})),
            request(span(bare)),
        )
        assert got.column("status") == ["failure"] * 3
        assert got.reasons == [(4, "missing_usage", None)]


class TestLeafOperations:
    def test_agents_and_workflows_that_sum_their_children_carry_no_usage(self, tmp_path: Path) -> None:
        parents = [
            {**CHAT, "gen_ai.operation.name": name} for name in ("invoke_agent", "invoke_workflow", "execute_tool")
        ]
        got = reading(tmp_path, request(*(span(parent) for parent in parents), span()))
        assert (len(got.usage), got.not_usage) == (1, 3)

    @pytest.mark.parametrize("name", ["chat", "text_completion", "generate_content", "embeddings"])
    def test_every_leaf_operation_counts(self, tmp_path: Path, name: str) -> None:
        assert len(reading(tmp_path, request(span({**CHAT, "gen_ai.operation.name": name}))).usage) == 1

    def test_a_span_of_no_genai_dialect_carries_no_usage(self, tmp_path: Path) -> None:
        got = reading(tmp_path, request(span({"http.request.method": "POST"}), span()))
        assert got.not_usage == 1

    def test_one_call_wrapped_by_two_instrumentations_counts_once(self, tmp_path: Path) -> None:
        outer = span(spanId="AA")
        inner = span(spanId="BB", parentSpanId="AA")
        got = reading(tmp_path, request(outer, inner))
        assert got.column("record_number") == [2]
        assert got.not_usage == 1

    def test_a_call_below_a_tool_of_a_call_counts_too(self, tmp_path: Path) -> None:
        tool = span({"gen_ai.operation.name": "execute_tool"}, spanId="BB", parentSpanId="AA")
        got = reading(tmp_path, request(span(spanId="AA"), tool, span(spanId="CC", parentSpanId="BB")))
        assert got.column("record_number") == [1, 3]

    def test_the_ai_sdk_counts_only_its_inner_do_spans(self, tmp_path: Path) -> None:
        usage = {"ai.model.id": "gpt-4o", "ai.model.provider": "openai.chat"}
        counts = {"ai.usage.promptTokens": 10, "ai.usage.completionTokens": 5}
        outer = span({**usage, **counts, "ai.operationId": "ai.generateText"})
        inner = span({**usage, **counts, "ai.operationId": "ai.generateText.doGenerate"})
        got = reading(tmp_path, request(outer, inner))
        assert got.usage.select("record_number", "provider", "input_uncached_tokens").rows() == [(2, "openai", 10)]

    def test_openinference_kinds(self, tmp_path: Path) -> None:
        call = {
            "llm.model_name": "gpt-4o",
            "llm.provider": "azure",
            "llm.token_count.prompt": 13,
            "llm.token_count.completion": 81,
            "llm.token_count.total": 94,
        }
        kinds = [span({**call, "openinference.span.kind": kind}) for kind in ("AGENT", "CHAIN", "LLM")]
        got = reading(tmp_path, request(*kinds))
        assert got.usage.select("record_number", "provider", "output_tokens").rows() == [(3, "azure_openai", 81)]

    def test_an_old_span_without_operation_counts_unless_it_is_a_workflow(self, tmp_path: Path) -> None:
        old = {
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 8,
            "gen_ai.usage.completion_tokens": 2,
        }
        got = reading(tmp_path, request(span(old), span({**old, "traceloop.span.kind": "workflow"})))
        assert got.column("input_uncached_tokens") == [8]
        assert got.not_usage == 1


class TestTokens:
    def test_cached_tokens_are_inside_input(self, tmp_path: Path) -> None:
        got = tokens(
            tmp_path,
            {
                **CHAT,
                "gen_ai.usage.cache_read.input_tokens": 60,
                "gen_ai.usage.cache_write.input_tokens": 10,
                "gen_ai.usage.reasoning.output_tokens": 25,
            },
        )
        assert got == {
            "input_uncached_tokens": 30,
            "cache_read_tokens": 60,
            "cache_write_unknown_tokens": 10,
            "output_tokens": 40,
            "reasoning_tokens": 25,
        }

    def test_the_earlier_name_of_cache_writes_is_read_once(self, tmp_path: Path) -> None:
        both = {
            **CHAT,
            "gen_ai.usage.cache_creation.input_tokens": 10,
            "gen_ai.usage.cache_write.input_tokens": 10,
        }
        assert tokens(tmp_path, both)["cache_write_unknown_tokens"] == 10

    def test_old_anthropic_spans_exclude_their_cache_and_show_it(self, tmp_path: Path) -> None:
        claude = {**CHAT, "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-x"}
        got = tokens(tmp_path, {**claude, "gen_ai.usage.cache_read_input_tokens": 5000})
        assert (got["input_uncached_tokens"], got["cache_read_tokens"]) == (100, 5000)

    def test_for_other_providers_more_cached_than_input_stays_negative(self, tmp_path: Path) -> None:
        got = tokens(tmp_path, {**CHAT, "gen_ai.usage.cache_read_input_tokens": 5000})
        assert got["input_uncached_tokens"] == -4900

    def test_a_total_decides_whether_the_cache_is_inside(self, tmp_path: Path) -> None:
        claude = {**CHAT, "gen_ai.provider.name": "anthropic", "gen_ai.usage.cache_read_input_tokens": 60}
        beside = tokens(tmp_path, {**claude, "llm.usage.total_tokens": 200})
        inside = tokens(tmp_path, {**claude, "llm.usage.total_tokens": 140})
        assert (beside["input_uncached_tokens"], inside["input_uncached_tokens"]) == (100, 40)

    def test_openinference_details_are_parts(self, tmp_path: Path) -> None:
        got = tokens(
            tmp_path,
            {
                "openinference.span.kind": "LLM",
                "llm.model_name": "gpt-4o",
                "llm.system": "openai",
                "llm.token_count.prompt": 100,
                "llm.token_count.completion": 50,
                "llm.token_count.prompt_details.cache_read": 30,
                "llm.token_count.prompt_details.audio": 20,
                "llm.token_count.completion_details.reasoning": 10,
                "llm.token_count.completion_details.audio": 5,
            },
        )
        assert got == {
            "input_uncached_tokens": 50,
            "cache_read_tokens": 30,
            "input_audio_tokens": 20,
            "output_tokens": 45,
            "output_audio_tokens": 5,
            "reasoning_tokens": 10,
        }

    def test_the_ai_sdks_cached_and_reasoning_counts(self, tmp_path: Path) -> None:
        got = tokens(
            tmp_path,
            {
                "ai.operationId": "ai.streamText.doStream",
                "ai.model.id": "gpt-5",
                "ai.model.provider": "openai.responses",
                "ai.usage.inputTokens": 90,
                "ai.usage.outputTokens": 70,
                "ai.usage.cachedInputTokens": 40,
                "ai.usage.reasoningTokens": 60,
            },
        )
        assert got == {
            "input_uncached_tokens": 50,
            "cache_read_tokens": 40,
            "output_tokens": 70,
            "reasoning_tokens": 60,
        }

    def test_embeddings_have_their_own_leaf(self, tmp_path: Path) -> None:
        got = tokens(tmp_path, {**CHAT, "gen_ai.operation.name": "embeddings", "gen_ai.usage.output_tokens": 0})
        assert got == {"embedding_input_tokens": 100}

    def test_a_vendors_cost_attribute_is_ignored(self, tmp_path: Path) -> None:
        assert row(tmp_path, {**CHAT, "gen_ai.usage.cost": 0.5, "operation.cost": 0.5})["reported_cost_usd"] is None

    def test_words_and_fractions_are_no_counts(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            request(span({**CHAT, "gen_ai.usage.input_tokens": "many"})),
            request(span({**CHAT, "gen_ai.usage.input_tokens": 1.5})),
            request(span({k: v for k, v in CHAT.items() if "model" not in k})),
            request(span(startTimeUnixNano=None)),
            request(span(startTimeUnixNano="noon")),
            request(span({**CHAT, "gen_ai.provider.name": "", "gen_ai.request.model": "llama-3"})),
        )
        assert got.reasons == [
            (1, "bad_token_count", "input"),
            (2, "bad_token_count", "input_uncached_tokens"),
            (3, "missing_model", "model"),
            (4, "missing_timestamp", "startTimeUnixNano"),
            (5, "bad_timestamp", "startTimeUnixNano"),
            (6, "missing_provider", "provider"),
        ]


class TestIdentity:
    def test_the_served_model_tier_and_response_id_win_over_the_requested(self, tmp_path: Path) -> None:
        got = row(
            tmp_path,
            {
                **CHAT,
                "gen_ai.response.model": "gpt-4o-2024-08-06",
                "gen_ai.response.id": "chatcmpl-7",
                "openai.request.service_tier": "auto",
                "openai.response.service_tier": "flex",
                "gen_ai.conversation.id": "c1",
                "user.id": "u1",
                "gen_ai.agent.name": "planner",
                "app.feature": "search",
            },
        )
        assert (got["model"], got["request_id"], got["service_tier"]) == ("gpt-4o-2024-08-06", "chatcmpl-7", "flex")
        assert (got["session_id"], got["user_id"], got["feature_tag"]) == ("c1", "u1", "search")
        assert got["tags"] == '{"agent":"planner"}'

    @pytest.mark.parametrize(
        ("said", "provider"),
        [
            ({"gen_ai.provider.name": "aws.bedrock"}, "aws_bedrock"),
            ({"gen_ai.provider.name": "gcp.vertex_ai"}, "google"),
            ({"gen_ai.system": "az.ai.inference"}, "azure_openai"),
            ({"gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.0-flash"}, "google"),
            ({"gen_ai.system": "acme", "gen_ai.request.model": "acme-1"}, "acme"),
        ],
    )
    def test_provider_words_of_every_age(self, tmp_path: Path, said: dict[str, str], provider: str) -> None:
        plain = {k: v for k, v in CHAT.items() if k != "gen_ai.provider.name"}
        assert row(tmp_path, {**plain, **said})["provider"] == provider


def test_planted_secrets_reach_no_frame(tmp_path: Path) -> None:
    secret = "CANARY-7f3a"
    planted = {
        **CHAT,
        "gen_ai.input.messages": secret,
        "gen_ai.prompt.0.content": secret,
        "llm.prompts": [secret],
        "user.email": secret,
        "http.request.header.authorization": secret,
    }
    events = [{"name": "gen_ai.content.prompt", "attributes": pairs({"gen_ai.prompt": secret})}]
    bad = {**planted, "gen_ai.usage.input_tokens": "x"}
    got = reading(
        tmp_path, request(span(planted, name=secret, events=events), span(bad), resource={"host.name": secret})
    )
    assert len(got.usage) == len(got.rejected) == 1
    assert secret not in got.text()


@pytest.mark.real_data
def test_the_protocols_own_example_envelope_has_one_span_and_no_usage(shared_data: Path) -> None:
    got = read_log(CONNECTOR, land(shared_data / "formats/otlp/trace.json", "otel_genai"))
    assert (got.usage.is_empty(), got.not_usage, got.reasons) == (True, 1, [])
