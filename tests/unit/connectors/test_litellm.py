"""The litellm connector: spend logs as the proxy exports them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.litellm import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.reading import Reading, land, read_log


def spend_log(**changes: Any) -> dict[str, Any]:
    """One row as the proxy writes it; `metadata` given as a dict becomes JSON text."""
    row: dict[str, Any] = {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "cache_hit": "None",
        "startTime": "2026-10-01 23:59:59.847371",
        "endTime": "2026-10-02 00:00:01.5",
        "model": "gpt-4o",
        "user": "",
        "end_user": "",
        "team_id": "",
        "metadata": {},
        "spend": 0.000225,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "request_tags": "[]",
        "custom_llm_provider": "openai",
        "messages": "{}",
        "response": "{}",
        "status": "success",
    }
    row |= changes
    if isinstance(row["metadata"], dict):
        row["metadata"] = json.dumps(row["metadata"])
    return row


def reading(tmp_path: Path, *rows: Any, account: str = "default") -> Reading:
    path = tmp_path / "spend.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return read_log(CONNECTOR, land(path, "litellm", account=account))


def test_naive_times_are_utc_and_the_row_keeps_its_start(tmp_path: Path) -> None:
    got = reading(tmp_path, spend_log())
    assert got.column("started_at") == [datetime(2026, 10, 1, 23, 59, 59, 847371, tzinfo=UTC)]


def test_spend_is_an_estimate_and_never_a_reported_cost(tmp_path: Path) -> None:
    assert reading(tmp_path, spend_log(spend=9.99)).column("reported_cost_usd") == [None]


def test_cache_reads_and_writes_are_taken_out_of_the_inclusive_prompt(tmp_path: Path) -> None:
    details = {
        "prompt_tokens_details": {
            "cached_tokens": 600,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 250, "ephemeral_1h_input_tokens": 50},
        },
        "completion_tokens_details": {"reasoning_tokens": 15},
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 310,
        "server_tool_use": {"web_search_requests": 2},
    }
    row = spend_log(prompt_tokens=1000, metadata={"usage_object": details}, custom_llm_provider="anthropic")
    got = reading(tmp_path, row).usage.row(0, named=True)
    # 1000 − 600 read − 310 written = 90; 310 − 250 − 50 = 10 of unknown lifetime
    assert got["input_uncached_tokens"] == 90
    assert got["cache_read_tokens"] == 600
    writes = (got["cache_write_5m_tokens"], got["cache_write_1h_tokens"], got["cache_write_unknown_tokens"])
    assert writes == (250, 50, 10)
    assert (got["output_tokens"], got["reasoning_tokens"]) == (20, 15)
    assert got["web_search_requests"] == 2


def test_the_split_may_stand_in_additional_usage_values_or_in_a_metadata_object(tmp_path: Path) -> None:
    split = {"additional_usage_values": {"prompt_tokens_details": {"cached_tokens": 4}}, "usage_object": None}
    path = tmp_path / "spend.jsonl"
    path.write_text(
        json.dumps(spend_log(metadata=json.dumps(split))) + "\n" + json.dumps({**spend_log(), "metadata": split})
    )
    got = read_log(CONNECTOR, land(path, "litellm"))
    assert got.column("input_uncached_tokens") == [6, 6]
    assert got.column("cache_read_tokens") == [4, 4]


def test_more_cached_than_prompt_stays_negative_for_the_contract(tmp_path: Path) -> None:
    row = spend_log(metadata={"usage_object": {"cache_read_input_tokens": 12}})
    assert reading(tmp_path, row).column("input_uncached_tokens") == [-2]


def test_audio_is_a_leaf_of_its_own(tmp_path: Path) -> None:
    split = {"prompt_tokens_details": {"audio_tokens": 3}, "completion_tokens_details": {"audio_tokens": 5}}
    got = reading(tmp_path, spend_log(metadata={"usage_object": split})).usage.row(0, named=True)
    assert (got["input_uncached_tokens"], got["input_audio_tokens"]) == (7, 3)
    assert (got["output_tokens"], got["output_audio_tokens"]) == (15, 5)


def test_embeddings_count_as_embedding_input(tmp_path: Path) -> None:
    got = reading(tmp_path, spend_log(call_type="aembedding", completion_tokens=0)).usage.row(0, named=True)
    assert (got["embedding_input_tokens"], got["input_uncached_tokens"]) == (10, 0)


@pytest.mark.parametrize(
    "hit",
    [
        {"cache_hit": "True"},
        {"cache_hit": True},
        {"request_id": "chatcmpl-1_cache_hit1737710446.85"},
    ],
)
def test_an_answer_from_the_proxys_cache_is_no_usage(tmp_path: Path, hit: dict[str, Any]) -> None:
    got = reading(tmp_path, spend_log(**hit), spend_log(cache_hit="False", request_id="b"))
    assert got.not_usage == 1
    assert got.column("request_id") == ["b"]


def test_a_failed_call_is_a_row_and_a_failure_before_routing_is_no_usage(tmp_path: Path) -> None:
    failed = {"status": "failure", "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    got = reading(
        tmp_path, spend_log(request_id="a", **failed), spend_log(request_id="b", custom_llm_provider="", **failed)
    )
    assert got.usage.select("request_id", "status", "output_tokens").rows() == [("a", "failure", 0)]
    assert got.not_usage == 1


def test_batch_rows_have_the_batch_tier_and_their_number_of_requests(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        spend_log(request_id="batch_1_batch_cost", metadata={"batch_successful_requests": 40}),
        spend_log(request_id="resp_1_background_cost"),
    )
    assert got.column("service_tier") == ["batch", "standard"]
    assert got.column("requests") == [40, 1]


def test_a_model_loses_only_the_prefix_of_its_own_provider(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        spend_log(model="openai/gpt-4o"),
        spend_log(model="openai/gpt-4o", custom_llm_provider="openrouter"),
        spend_log(model="bedrock/us.anthropic.claude-sonnet-4-5-v1:0", custom_llm_provider="bedrock"),
    )
    assert got.column("model") == ["gpt-4o", "openai/gpt-4o", "us.anthropic.claude-sonnet-4-5-v1:0"]
    assert got.column("provider") == ["openai", "openrouter", "aws_bedrock"]


def test_the_provider_may_stand_only_in_the_model_map(tmp_path: Path) -> None:
    known = {"model_map_information": {"model_map_value": {"litellm_provider": "vertex_ai"}}}
    assert reading(tmp_path, spend_log(custom_llm_provider="", metadata=known)).column("provider") == ["google"]


def test_request_tags_become_keys_and_a_feature(tmp_path: Path) -> None:
    tags = json.dumps(["feature:search", "env=prod", "nightly", "env=dev", 7])
    got = reading(tmp_path, spend_log(request_tags=tags), spend_log(request_tags=["team: blue"]))
    # of two tags with one key the first stays; the third place holds a bare word
    assert got.column("tags") == ['{"env":"prod","feature":"search","tag_3":"nightly"}', '{"team":"blue"}']
    assert got.column("feature_tag") == ["search", None]


def test_spend_logs_metadata_names_the_feature_first(tmp_path: Path) -> None:
    row = spend_log(metadata={"spend_logs_metadata": {"feature": "chat"}}, request_tags='["feature:search"]')
    assert reading(tmp_path, row).column("feature_tag") == ["chat"]


def test_team_end_user_and_hashed_key_are_kept(tmp_path: Path) -> None:
    got = reading(tmp_path, spend_log(team_id="t1", user="u1", end_user="e1"), spend_log(user="u1"), account="proxy-eu")
    assert got.column("user_group") == ["t1", None]
    assert got.column("user_id") == ["e1", "u1"]
    assert got.column("api_key_id") == [spend_log()["api_key"]] * 2
    assert got.column("account") == ["default", "default"]  # a folder names no account of a request log


def test_the_row_that_ended_last_has_the_highest_rank(tmp_path: Path) -> None:
    late = spend_log(endTime="2026-10-02 00:00:09", completion_tokens=99)
    got = reading(tmp_path, spend_log(), late, spend_log(updated_at="2026-10-03T00:00:00Z"))
    ranks = got.column("merge_rank")
    assert ranks[0] < ranks[1] < ranks[2]
    # 2026-10-02T00:00:01.5Z is 1790899201.5 s after the epoch
    assert ranks[0] == 1_790_899_201_500_000
    assert CONNECTOR.merge.on_conflict == "largest_rank"


def test_unreadable_records_are_named_one_by_one(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        "{broken",
        spend_log(startTime=None),
        spend_log(startTime="soon"),
        spend_log(custom_llm_provider=""),
        spend_log(model=""),
        spend_log(prompt_tokens=None, completion_tokens=None),
        spend_log(prompt_tokens=1.5),
        spend_log(prompt_tokens="many"),
        spend_log(metadata="{cut"),
        spend_log(metadata={"usage_object": {"cache_read_input_tokens": 0.5}}),
        spend_log(request_id="good"),
    )
    assert got.reasons == [
        (1, "malformed_json", None),
        (2, "missing_timestamp", "startTime"),
        (3, "bad_timestamp", "startTime"),
        (4, "missing_provider", "custom_llm_provider"),
        (5, "missing_model", "model"),
        (6, "missing_usage", None),
        (7, "bad_token_count", "input_uncached_tokens"),
        (8, "type_error", "prompt_tokens"),
        (9, "malformed_json", "metadata"),
        (10, "bad_token_count", "input_uncached_tokens"),
    ]
    assert got.column("request_id") == ["good"]


def test_a_callback_payload_has_epoch_seconds_and_its_own_names(tmp_path: Path) -> None:
    payload = {
        "id": "chatcmpl-9",
        "call_type": "acompletion",
        "cache_hit": False,
        "startTime": 1759276800.5,
        "endTime": 1759276801.5,
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "prompt_tokens": 5,
        "completion_tokens": 6,
        "status": "success",
        "request_tags": ["env:prod"],
        "metadata": {"user_api_key_hash": "abc", "user_api_key_team_id": "t9", "user_api_key_user_id": "u9"},
        "response": {"usage": {}},
    }
    got = reading(tmp_path, payload).usage.row(0, named=True)
    assert got["started_at"] == datetime(2025, 10, 1, 0, 0, 0, 500000, tzinfo=UTC)
    assert (got["request_id"], got["api_key_id"], got["user_group"], got["user_id"]) == (
        "chatcmpl-9",
        "abc",
        "t9",
        "u9",
    )


@pytest.mark.parametrize("form", ["array", "data", "single"])
def test_documents_count_their_records(tmp_path: Path, form: str) -> None:
    rows = [spend_log(request_id="a"), spend_log(request_id="b", cache_hit="True")]
    document: Any = {"array": rows, "data": {"data": rows, "total": 2}, "single": rows[0]}[form]
    path = tmp_path / "spend.json"
    path.write_text(json.dumps(document, indent=2))
    got = read_log(CONNECTOR, land(path, "litellm"))
    assert got.column("request_id") == ["a"]
    assert got.not_usage == (0 if form == "single" else 1)


def test_a_document_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"hello": 1}, indent=2))
    with pytest.raises(FileRejectedError) as caught:
        list(CONNECTOR.read(land(path, "litellm")))
    assert caught.value.code == "unknown_document"


def test_a_cut_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps([spend_log()], indent=2)[:-20])
    with pytest.raises(FileRejectedError) as caught:
        list(CONNECTOR.read(land(path, "litellm")))
    assert caught.value.code == "malformed_json"


def test_planted_secrets_reach_no_frame(tmp_path: Path) -> None:
    secret = "CANARY-7f3a"
    planted = {
        "messages": json.dumps([{"content": secret}]),
        "response": {"choices": [{"message": {"content": secret}}]},
        "requester_ip_address": secret,
        "api_key": "sk-" + secret,
        "metadata": {"user_api_key_alias": secret, "user_api_key_user_email": secret, "requester_metadata": secret},
    }
    got = reading(tmp_path, spend_log(**planted), spend_log(**planted, model=""))
    assert len(got.usage) == len(got.rejected) == 1
    assert secret not in got.text()


@pytest.mark.real_data
def test_the_recorded_payload_of_the_proxys_own_tests(shared_data: Path) -> None:
    got = read_log(CONNECTOR, land(shared_data / "formats/litellm/spend_logs_payload.json", "litellm"))
    row = got.usage.row(0, named=True)
    # as printed in the payload: gpt-4o at openai, 10 in and 20 out, session 1234567890
    assert (row["provider"], row["model"], row["session_id"]) == ("openai", "gpt-4o", "1234567890")
    assert (row["input_uncached_tokens"], row["output_tokens"], row["reported_cost_usd"]) == (10, 20, None)
    assert row["started_at"] == datetime(2025, 1, 24, 9, 20, 46, 847371, tzinfo=UTC)
