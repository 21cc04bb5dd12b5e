"""The claude_code connector: session files with repeated, copied and synthetic messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors import session_files
from pipelines.connectors.claude_code import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.reading import Reading, land, read_log

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 4000,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 50,
    "service_tier": "standard",
}


def assistant(usage: dict[str, Any] | None = None, *, message: dict[str, Any] | None = None, **fields: Any) -> Any:
    body = {
        "id": "msg_1",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "usage": USAGE if usage is None else usage,
    }
    return {
        "type": "assistant",
        "timestamp": "2026-10-01T10:00:00.000Z",
        "sessionId": "s-1",
        "uuid": "u-1",
        "requestId": "req_1",
        "isSidechain": False,
        "message": body | (message or {}),
        **fields,
    }


def reading(tmp_path: Path, *rows: Any, account: str = "default") -> Reading:
    path = tmp_path / "session.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return read_log(CONNECTOR, land(path, "claude_code", account=account))


def kept(got: Reading) -> list[dict[str, Any]]:
    """The rows that stay when the largest merge_rank of each request wins, as the run does it."""
    best = got.usage.sort("merge_rank", descending=True).unique("request_id", keep="first", maintain_order=True)
    return best.sort("request_id").to_dicts()


def test_cache_writes_are_split_by_lifetime_and_stand_beside_input(tmp_path: Path) -> None:
    row = reading(tmp_path, assistant(), account="team-a").usage.row(0, named=True)
    assert (row["input_uncached_tokens"], row["cache_read_tokens"], row["output_tokens"]) == (10, 4000, 50)
    writes = (row["cache_write_5m_tokens"], row["cache_write_1h_tokens"], row["cache_write_unknown_tokens"])
    assert writes == (100, 200, 0)
    assert (row["provider"], row["account"], row["session_id"]) == ("anthropic", "default", "s-1")
    assert (row["feature_tag"], row["reported_cost_usd"], row["request_id"]) == (None, None, "msg_1")


def test_a_message_per_content_block_counts_once_with_its_final_counts(tmp_path: Path) -> None:
    early = {**USAGE, "output_tokens": 1}
    got = reading(
        tmp_path,
        assistant(early, timestamp="2026-10-01T23:59:59Z"),
        assistant(timestamp="2026-10-02T00:00:01Z"),
        assistant(timestamp="2026-10-02T00:00:02Z"),
        assistant(message={"id": "msg_2"}, timestamp="2026-10-02T00:00:03Z"),
    )
    first, second = kept(got)
    assert (first["request_id"], first["output_tokens"], second["request_id"]) == ("msg_1", 50, "msg_2")
    # the day is that of the first block, though the row with the final counts came after midnight
    assert first["started_at"] == datetime(2026, 10, 1, 23, 59, 59, tzinfo=UTC)
    assert (CONNECTOR.merge.window, CONNECTOR.merge.on_conflict) == ("global", "largest_rank")


def test_a_message_copied_into_a_resumed_session_keeps_its_first_time(tmp_path: Path) -> None:
    original = reading(tmp_path, assistant()).usage
    copy = reading(tmp_path, assistant(timestamp="2026-10-09T10:00:00Z", sessionId="s-2")).usage
    assert original["request_id"].item() == copy["request_id"].item()
    assert original["merge_rank"].item() > copy["merge_rank"].item()


def test_a_side_chain_that_replays_a_message_loses_to_the_parent(tmp_path: Path) -> None:
    replay = assistant(isSidechain=True, requestId="req_9", timestamp="2026-10-01T09:00:00Z")
    (row,) = kept(reading(tmp_path, replay, assistant()))
    assert (row["record_number"], row["tags"]) == (2, None)


def test_a_side_chains_own_message_counts_and_says_so(tmp_path: Path) -> None:
    got = reading(tmp_path, assistant(isSidechain=True))
    assert got.column("tags") == ['{"is_sidechain":"true"}']


def test_without_a_message_id_the_request_id_is_the_key(tmp_path: Path) -> None:
    assert reading(tmp_path, assistant(message={"id": None})).column("request_id") == ["req_1"]
    gateway = assistant()
    del gateway["requestId"]
    assert reading(tmp_path, gateway).column("request_id") == ["msg_1"]


def test_only_assistant_rows_with_usage_are_calls(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        {"type": "user", "timestamp": "2026-10-01T10:00:00Z", "message": {"role": "user", "content": "hi"}},
        {"type": "summary", "summary": "talk"},
        {"type": "system", "message": "a text where others have an object", "timestamp": "2026-10-01T10:00:00Z"},
        {"type": "result", "usage": USAGE, "total_cost_usd": 1.5},
        {"type": "progress", "data": {"message": assistant()}},
        assistant(message={"usage": None}),
        assistant(message={"model": "<synthetic>"}),
        assistant(),
    )
    assert got.column("record_number") == [8]
    assert got.not_usage == 7
    assert got.reasons == []


def test_fast_mode_is_a_tier_and_us_inference_a_region(tmp_path: Path) -> None:
    got = reading(tmp_path, assistant({**USAGE, "speed": "fast", "inference_geo": "us"})).usage.row(0, named=True)
    assert (got["service_tier"], got["region"]) == ("fast", "us")


def test_compaction_and_advisor_iterations_are_billed_by_their_own_model(tmp_path: Path) -> None:
    # top level 180/8; the compaction used 100 + 55,096 written + 82, the advisor 7 + 9 under another model
    usage = {
        "input_tokens": 180,
        "output_tokens": 8,
        "iterations": [
            {"type": "message", "input_tokens": 180, "output_tokens": 8},
            {
                "type": "compaction",
                "input_tokens": 100,
                "cache_creation_input_tokens": 55096,
                "cache_creation": {"ephemeral_5m_input_tokens": 55096},
                "output_tokens": 82,
            },
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 7, "output_tokens": 9},
        ],
    }
    got = reading(tmp_path, assistant(usage))
    columns = ("model", "part", "requests", "input_uncached_tokens", "cache_write_5m_tokens", "output_tokens")
    assert got.usage.select(columns).rows() == [
        ("claude-sonnet-4-5", 0, 1, 280, 55096, 90),
        ("claude-opus-4-8", 1, 0, 7, 0, 9),
    ]
    assert got.usage["merge_rank"].n_unique() == 1


def test_the_clients_cost_estimate_is_ignored(tmp_path: Path) -> None:
    assert reading(tmp_path, assistant(costUSD=0.12)).column("reported_cost_usd") == [None]


def test_unreadable_rows_are_named_one_by_one(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        "{broken",
        assistant(timestamp=None),
        assistant(timestamp="noon"),
        assistant(message={"model": None}),
        assistant({**USAGE, "output_tokens": "many"}),
        assistant({**USAGE, "output_tokens": 1.5}),
        assistant(),
    )
    assert got.reasons == [
        (1, "malformed_json", None),
        (2, "missing_timestamp", "timestamp"),
        (3, "bad_timestamp", "timestamp"),
        (4, "missing_model", "message"),
        (5, "type_error", "message"),
        (6, "bad_token_count", "message"),
    ]


def test_an_empty_session_holds_no_record(tmp_path: Path) -> None:
    assert reading(tmp_path).usage.is_empty()


def test_a_concatenation_of_sessions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_files, "MAX_SESSION_BYTES", 100)
    with pytest.raises(FileRejectedError) as caught:
        reading(tmp_path, assistant())
    assert caught.value.code == "too_large"


def test_planted_secrets_reach_no_frame(tmp_path: Path) -> None:
    secret = "CANARY-7f3a"
    planted = {"cwd": f"/home/{secret}", "gitBranch": secret, "version": secret, "toolUseResult": secret}
    talk = {"content": [{"type": "text", "text": secret}]}
    got = reading(tmp_path, assistant(message=talk, **planted), assistant(message={**talk, "model": None}, **planted))
    assert len(got.usage) == len(got.rejected) == 1
    assert secret not in got.text()


@pytest.mark.real_data
def test_fixtures_of_a_session_reader(shared_data: Path) -> None:
    folder = shared_data / "formats/agent_cli/ccusage/claude/projects"
    alpha = read_log(CONNECTOR, land(folder / "project-alpha/session-alpha/chat.jsonl", "claude_code"))
    columns = ("request_id", "service_tier", "input_uncached_tokens", "cache_read_tokens", "output_tokens")
    # as printed in the file; writes have no lifetime there, the second row has speed fast
    assert alpha.usage.select(columns).rows() == [
        ("msg-alpha-1", "standard", 100, 10, 50),
        ("msg-alpha-2", "fast", 200, 20, 75),
        ("msg-alpha-3", "standard", 300, 40, 125),
    ]
    assert alpha.column("cache_write_unknown_tokens") == [25, 50, 0]


@pytest.mark.real_data
def test_a_transcript_without_times_is_rejected_row_by_row(shared_data: Path) -> None:
    got = read_log(CONNECTOR, land(shared_data / "formats/agent_cli/ccusage/test-transcript.jsonl", "claude_code"))
    assert got.reasons == [(2, "missing_timestamp", "timestamp"), (4, "missing_timestamp", "timestamp")]
    assert got.not_usage == 2
