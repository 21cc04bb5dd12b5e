"""Output and error files of OpenAI's Batch API. Lines in the API's own words; expected values worked by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.base import USAGE_SCHEMA, Batch, LandedFile
from pipelines.connectors.openai_batch import CONNECTOR
from pipelines.errors import FileRejectedError

CREATED = datetime(2026, 10, 1, 23, 59, 59, tzinfo=UTC)
BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": int(CREATED.timestamp()),
    "model": "gpt-5-2026-08-07",
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 22,
        "completion_tokens": 2,
        "total_tokens": 24,
        "prompt_tokens_details": {"cached_tokens": 12},
    },
}
LINE = {
    "id": "batch_req_1",
    "custom_id": "summaries-1",
    "response": {"status_code": 200, "request_id": "req_1", "body": BODY},
    "error": None,
}
EXPIRED = {
    "id": "batch_req_2",
    "custom_id": "summaries-2",
    "response": None,
    "error": {"code": "batch_expired", "message": "This request could not be executed before the completion window."},
}
FAILED = {
    "id": "batch_req_3",
    "custom_id": "summaries-3",
    "response": {"status_code": 400, "request_id": "req_3", "body": {"error": {"message": "no such model"}}},
    "error": None,
}


def _land(folder: Path, *lines: object, name: str = "out.jsonl", modified_ns: int = 0) -> LandedFile:
    path = folder / "landed"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return LandedFile("openai_batch", path, name, "0" * 16, modified_ns=modified_ns)


def _read(file: LandedFile) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Batch]]:
    batches = list(CONNECTOR.read(file))
    assert all(batch.usage is not None and dict(batch.usage.schema) == USAGE_SCHEMA for batch in batches)
    rows = [row for batch in batches if batch.usage is not None for row in batch.usage.to_dicts()]
    rejected = [row for batch in batches for frame in batch.rejected for row in frame.to_dicts()]
    not_usage = sum(batch.not_usage for batch in batches)
    assert CONNECTOR.count_records(file) == len(rows) + len(rejected) + not_usage
    return rows, rejected, batches


def test_an_answered_request_is_billed_at_the_batch_tier_whatever_its_body_says(tmp_path: Path) -> None:
    rows, rejected, _ = _read(_land(tmp_path, LINE))
    assert rejected == []
    expected = {
        "started_at": CREATED,
        "provider": "openai",
        "account": "default",
        "model": "gpt-5-2026-08-07",
        "service_tier": "batch",
        "request_id": "chatcmpl-1",
        "input_uncached_tokens": 10,
        "cache_read_tokens": 12,
        "output_tokens": 2,
        "requests": 1,
        "tags": '{"custom_id":"summaries-1"}',
    }
    assert {name: rows[0][name] for name in expected} == expected


def test_errors_and_expired_requests_are_not_billed(tmp_path: Path) -> None:
    rows, rejected, batches = _read(_land(tmp_path, EXPIRED, LINE, FAILED))
    assert [row["record_number"] for row in rows] == [2]
    assert (rejected, sum(batch.not_usage for batch in batches)) == ([], 2)


def test_an_error_file_has_no_usage_at_all(tmp_path: Path) -> None:
    rows, rejected, batches = _read(_land(tmp_path, EXPIRED, FAILED))
    assert (rows, rejected, sum(batch.not_usage for batch in batches)) == ([], [], 2)


def test_a_responses_body_is_dated_by_created_at(tmp_path: Path) -> None:
    body = {
        "id": "resp_1",
        "created_at": CREATED.timestamp() + 0.5,
        "model": "gpt-5",
        "output": [{"type": "message"}],
        "usage": {"input_tokens": 5, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}},
    }
    rows, _, _ = _read(_land(tmp_path, {**LINE, "response": {"status_code": 200, "body": body}}))
    assert rows[0]["started_at"] == CREATED.replace(microsecond=500_000)
    assert (rows[0]["input_uncached_tokens"], rows[0]["output_tokens"], rows[0]["reasoning_tokens"]) == (5, 3, 2)


EMBEDDING = {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8}}


def test_an_embedding_has_no_time_or_id_and_takes_those_of_file_and_line(tmp_path: Path) -> None:
    line = {**LINE, "response": {"status_code": 200, "body": EMBEDDING}}
    rows, _, _ = _read(_land(tmp_path, line, LINE, name="nightly/batch_2026-10-05_out.jsonl"))
    assert [row["started_at"] for row in rows] == [datetime(2026, 10, 5, tzinfo=UTC), CREATED]
    assert (rows[0]["request_id"], rows[0]["embedding_input_tokens"]) == ("batch_req_1", 8)


def test_without_a_day_in_its_path_the_modification_time_dates_an_embedding(tmp_path: Path) -> None:
    line = {**LINE, "response": {"status_code": 200, "body": EMBEDDING}}
    file = _land(tmp_path, line, modified_ns=int(CREATED.timestamp()) * 10**9)
    assert _read(file)[0][0]["started_at"] == CREATED


def test_an_undated_file_of_undated_lines_is_rejected(tmp_path: Path) -> None:
    line = {**LINE, "response": {"status_code": 200, "body": EMBEDDING}}
    with pytest.raises(FileRejectedError) as caught:
        list(CONNECTOR.read(_land(tmp_path, line)))
    assert caught.value.code == "missing_timestamp"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{broken", "malformed_json"),
        ({"custom_id": "x"}, "unknown_result"),
        ({**LINE, "response": {"status_code": 200, "body": {**BODY, "usage": None}}}, "missing_usage"),
        ({**LINE, "response": {"status_code": 200, "body": {**BODY, "model": None}}}, "missing_model"),
        ({**LINE, "response": {"status_code": 200, "body": {**BODY, "usage": {}}}}, "unknown_usage_shape"),
        (
            {**LINE, "response": {"status_code": 200, "body": {**BODY, "usage": {"prompt_tokens": 0.5}}}},
            "bad_token_count",
        ),
    ],
)
def test_a_bad_line_is_rejected_by_name(line: object, reason: str, tmp_path: Path) -> None:
    rows, rejected, _ = _read(_land(tmp_path, LINE, line))
    assert [row["record_number"] for row in rows] == [1]
    assert [(r["record_number"], r["reason_code"]) for r in rejected] == [(2, reason)]


def test_batches_are_matched_everywhere() -> None:
    assert (CONNECTOR.merge.window, CONNECTOR.merge.on_conflict) == ("global", "quarantine")


def test_texts_of_completions_and_errors_reach_no_frame(tmp_path: Path) -> None:
    canary = "CANARY-ada@example.com"
    body = {**BODY, "choices": [{"message": {"content": canary}}], "metadata": {"name": canary}, "user": canary}
    good = {**LINE, "response": {"status_code": 200, "body": body}}
    failed = {**FAILED, "error": {"code": "x", "message": canary}, "custom_id": canary * 20}
    batches = list(CONNECTOR.read(_land(tmp_path, good, failed, {**good, "custom_id": canary * 20})))
    frames = [frame for batch in batches for frame in (batch.usage, *batch.rejected) if frame is not None]
    assert sum(len(frame) for frame in frames) == 2
    assert [frame for frame in frames if canary in frame.write_json()] == []
