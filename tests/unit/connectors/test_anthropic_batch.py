"""Result files of Anthropic's Message Batches API. Lines in the API's own words; expected values worked by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.anthropic_batch import CONNECTOR
from pipelines.connectors.base import USAGE_SCHEMA, Batch, LandedFile
from pipelines.errors import FileRejectedError

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [{"type": "text", "text": "Hello"}],
    "usage": {
        "input_tokens": 11,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 36,
        "service_tier": "batch",
        "inference_geo": "us",
    },
}
SUCCEEDED = {"custom_id": "ticket-1", "result": {"type": "succeeded", "message": MESSAGE}}
ERRORED = {"custom_id": "ticket-2", "result": {"type": "errored", "error": {"type": "invalid_request"}}}


def _land(folder: Path, *lines: object, name: str = "2026-10-05/results.jsonl", modified_ns: int = 0) -> LandedFile:
    path = folder / "landed"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return LandedFile("anthropic_batch", path, name, "0" * 16, modified_ns=modified_ns)


def _read(file: LandedFile) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Batch]]:
    batches = list(CONNECTOR.read(file))
    assert all(batch.usage is not None and dict(batch.usage.schema) == USAGE_SCHEMA for batch in batches)
    rows = [row for batch in batches if batch.usage is not None for row in batch.usage.to_dicts()]
    rejected = [row for batch in batches for frame in batch.rejected for row in frame.to_dicts()]
    not_usage = sum(batch.not_usage for batch in batches)
    records = {row["record_number"] for row in rows} | {row["record_number"] for row in rejected}
    assert CONNECTOR.count_records(file) == len(records) + not_usage
    return rows, rejected, batches


def test_a_succeeded_result_is_billed_at_the_batch_tier(tmp_path: Path) -> None:
    rows, rejected, _ = _read(_land(tmp_path, SUCCEEDED))
    assert rejected == []
    expected = {
        "started_at": datetime(2026, 10, 5, tzinfo=UTC),
        "provider": "anthropic",
        "model": "claude-sonnet-5",
        "service_tier": "batch",
        "region": "us",
        "request_id": "msg_1",
        "input_uncached_tokens": 11,
        "cache_read_tokens": 5,
        "cache_write_5m_tokens": 10,
        "cache_write_1h_tokens": 20,
        "cache_write_unknown_tokens": 0,
        "output_tokens": 36,
        "tags": '{"custom_id":"ticket-1"}',
    }
    assert {name: rows[0][name] for name in expected} == expected


def test_only_succeeded_results_are_billed(tmp_path: Path) -> None:
    others = [{"custom_id": kind, "result": {"type": kind}} for kind in ("canceled", "expired")]
    rows, rejected, batches = _read(_land(tmp_path, ERRORED, *others, SUCCEEDED))
    assert [row["record_number"] for row in rows] == [4]
    assert (rejected, sum(batch.not_usage for batch in batches)) == ([], 3)


def test_an_advisor_inside_a_batch_is_a_second_row(tmp_path: Path) -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "iterations": [
            {"type": "message", "input_tokens": 1, "output_tokens": 2},
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 3, "output_tokens": 4},
        ],
    }
    line = {"custom_id": "x", "result": {"type": "succeeded", "message": {**MESSAGE, "usage": usage}}}
    rows, _, _ = _read(_land(tmp_path, line))
    assert [(r["model"], r["part"], r["requests"], r["service_tier"], r["output_tokens"]) for r in rows] == [
        ("claude-sonnet-5", 0, 1, "batch", 2),
        ("claude-opus-4-8", 1, 0, "batch", 4),
    ]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("results_2026-10-05.jsonl", 5),
        ("2026-10-01/results_2026-10-05.jsonl.gz", 5),
        ("batches/2026-10-05/results.jsonl", 5),
        ("2026-10-05/results_2026-13-45.jsonl", 5),
        ("run 2026-10-01 to 2026-10-05.jsonl", 5),
    ],
)
def test_the_day_nearest_to_the_file_name_dates_the_file(name: str, day: int, tmp_path: Path) -> None:
    rows, _, _ = _read(_land(tmp_path, SUCCEEDED, name=name))
    assert rows[0]["started_at"] == datetime(2026, 10, day, tzinfo=UTC)


def test_without_a_day_the_modification_time_dates_the_file(tmp_path: Path) -> None:
    rows, _, _ = _read(_land(tmp_path, SUCCEEDED, name="msgbatch_01.jsonl", modified_ns=1_790_000_000_123_456_789))
    # 1 790 000 000 s = 20 717 days + 51 200 s; day 20 717 after the epoch is 2026-09-21, 51 200 s are 14:13:20
    assert rows[0]["started_at"] == datetime(2026, 9, 21, 14, 13, 20, 123_456, tzinfo=UTC)


def test_a_file_of_no_known_time_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(FileRejectedError) as caught:
        list(CONNECTOR.read(_land(tmp_path, SUCCEEDED, name="results.jsonl")))
    assert caught.value.code == "missing_timestamp"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{broken", "malformed_json"),
        ({"custom_id": "x"}, "unknown_result"),
        ({"custom_id": "x", "result": {"type": "paused"}}, "unknown_result"),
        ({"custom_id": "x", "result": {"type": "succeeded", "message": {**MESSAGE, "usage": None}}}, "missing_usage"),
        ({"custom_id": "x", "result": {"type": "succeeded"}}, "missing_model"),
    ],
)
def test_a_bad_line_is_rejected_by_name(line: object, reason: str, tmp_path: Path) -> None:
    rows, rejected, _ = _read(_land(tmp_path, SUCCEEDED, line))
    assert [row["record_number"] for row in rows] == [1]
    assert [(r["record_number"], r["reason_code"]) for r in rejected] == [(2, reason)]


def test_batches_are_matched_everywhere() -> None:
    assert (CONNECTOR.merge.window, CONNECTOR.merge.on_conflict) == ("global", "quarantine")


def test_texts_of_completions_and_errors_reach_no_frame(tmp_path: Path) -> None:
    canary = "CANARY-ada@example.com"
    message = {**MESSAGE, "content": [{"type": "text", "text": canary}]}
    good = {"custom_id": canary * 20, "result": {"type": "succeeded", "message": message}}
    errored = {"custom_id": "x", "result": {"type": "errored", "error": {"message": canary}}}
    batches = list(CONNECTOR.read(_land(tmp_path, good, errored, {"custom_id": canary, "result": {}})))
    frames = [frame for batch in batches for frame in (batch.usage, *batch.rejected) if frame is not None]
    assert sum(len(frame) for frame in frames) == 2
    assert [frame for frame in frames if canary in frame.write_json()] == []
