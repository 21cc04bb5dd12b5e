"""Nothing private survives intake: words planted in every log format are in no byte of lake, marts, logs or Dagster.

Each format carries the same canaries where its provider or gateway puts prompts, completions, names, e-mail addresses
and
keys. A word counts as found when it stands in a file's raw bytes, in any value of a Parquet or DuckDB table, or in the
index.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.connectors.registry import SOURCES
from tests.integration.nights import land

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "canary-prompt-tell-me-about-mars"
COMPLETION = "canary-completion-mars-is-red"
NAME = "Canary Birdwhistle"
EMAIL = "canary.bird@example.com"
KEY = "sk-canary-0123456789abcdef0123456789"
CANARIES = (PROMPT, COMPLETION, NAME, EMAIL, KEY, "Birdwhistle", "canary.bird")

OPENAI_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
ANTHROPIC_USAGE = {"input_tokens": 11, "output_tokens": 7}
CHOICES = [{"index": 0, "message": {"role": "assistant", "content": COMPLETION}, "finish_reason": "stop"}]
MESSAGES = [{"role": "user", "content": PROMPT, "name": NAME}]
AT = "2026-11-01T12:00:00Z"


def lines(*records: dict[str, object]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def response_log() -> str:
    body = {
        "id": "chatcmpl-canary1",
        "model": "gpt-4o",
        "usage": OPENAI_USAGE,
        "choices": CHOICES,
        "user": NAME,
        "metadata": {"owner": EMAIL},
    }
    return lines(
        {
            "timestamp": AT,
            "provider": "openai",
            "response": body,
            "request": {"messages": MESSAGES},
            "user_id": EMAIL,
            "api_key_id": KEY,
            "api_key": KEY,
            "feature": "chat",
            "tags": {"mail": EMAIL, "token": KEY},
            "session_id": EMAIL,
        },
        {
            "timestamp": AT,
            "provider": "anthropic",
            "model": "claude-sonnet-4-5-20250929",
            "usage": ANTHROPIC_USAGE,
            "content": [{"type": "text", "text": COMPLETION}],
            "prompt": PROMPT,
            "user_name": NAME,
            "user_id": NAME,
        },
        {
            "timestamp": AT,
            "provider": "openai",
            "model": "gpt-4o",
            "usage": {"prompt_tokens": "many"},
            "prompt": PROMPT,
        },
    )


def usage_table() -> str:
    header = "started_at,provider,model,input_uncached_tokens,output_tokens,user_id,api_key_id,prompt,completion,name\n"
    return header + f"{AT},openai,gpt-4o,11,7,{EMAIL},{KEY},{PROMPT},{COMPLETION},{NAME}\n"


def litellm() -> str:
    metadata = {
        "user_api_key": KEY,
        "user_api_key_alias": NAME,
        "user_api_key_user_email": EMAIL,
        "usage_object": OPENAI_USAGE,
    }
    return lines(
        {
            "request_id": "chatcmpl-canary2",
            "call_type": "acompletion",
            "api_key": KEY,
            "spend": 0.1,
            "total_tokens": 18,
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "startTime": "2026-11-01 12:00:00.1",
            "endTime": "2026-11-01 12:00:01",
            "model": "gpt-4o",
            "user": EMAIL,
            "end_user": NAME,
            "metadata": json.dumps(metadata),
            "cache_hit": "None",
            "messages": json.dumps(MESSAGES),
            "response": json.dumps({"choices": CHOICES}),
            "custom_llm_provider": "openai",
            "proxy_server_request": json.dumps({"messages": MESSAGES}),
            "requester_ip_address": "10.0.0.1",
            "request_tags": "[]",
            "status": "success",
        },
    )


def langfuse() -> str:
    generation = {
        "id": "gen-canary",
        "traceId": "t",
        "type": "GENERATION",
        "startTime": AT,
        "endTime": AT,
        "model": "gpt-4o",
        "usageDetails": {"input": 11, "output": 7, "total": 18},
        "input": MESSAGES,
        "output": COMPLETION,
        "name": NAME,
        "metadata": {"user": EMAIL, "key": KEY},
    }
    trace = {"id": "t", "userId": EMAIL, "sessionId": EMAIL, "name": NAME, "input": PROMPT, "output": COMPLETION}
    return json.dumps({"trace": trace, "observations": [generation]})


def otel_genai() -> str:
    def attribute(key: str, value: str | int) -> dict[str, object]:
        kind = {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
        return {"key": key, "value": kind}

    attributes = [
        attribute("gen_ai.operation.name", "chat"),
        attribute("gen_ai.provider.name", "openai"),
        attribute("gen_ai.request.model", "gpt-4o"),
        attribute("gen_ai.response.id", "chatcmpl-canary3"),
        attribute("gen_ai.usage.input_tokens", 11),
        attribute("gen_ai.usage.output_tokens", 7),
        attribute("gen_ai.input.messages", json.dumps(MESSAGES)),
        attribute("gen_ai.output.messages", COMPLETION),
        attribute("user.email", EMAIL),
        attribute("enduser.id", NAME),
        attribute("http.request.header.authorization", KEY),
    ]
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": f"chat {NAME}",
        "startTimeUnixNano": "1793534400000000000",
        "endTimeUnixNano": "1793534401000000000",
        "attributes": attributes,
    }
    return json.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]})


def claude_code() -> str:
    message = {
        "id": "msg_canary",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "usage": ANTHROPIC_USAGE,
        "content": [{"type": "text", "text": COMPLETION}],
    }
    return lines(
        {"type": "user", "timestamp": AT, "sessionId": "s", "message": {"role": "user", "content": PROMPT}},
        {
            "type": "assistant",
            "timestamp": AT,
            "sessionId": "s",
            "requestId": "req_1",
            "message": message,
            "cwd": f"/{NAME}",
            "gitBranch": EMAIL,
        },
    )


def codex_cli() -> str:
    usage = {
        "input_tokens": 11,
        "cached_input_tokens": 0,
        "output_tokens": 7,
        "reasoning_output_tokens": 0,
        "total_tokens": 18,
    }
    info = {"total_token_usage": usage, "last_token_usage": usage}
    return lines(
        {"timestamp": AT, "type": "session_meta", "payload": {"id": "s1", "cwd": f"/{NAME}", "instructions": PROMPT}},
        {"timestamp": AT, "type": "turn_context", "payload": {"model": "gpt-5.2-codex", "user": EMAIL}},
        {"timestamp": AT, "type": "response_item", "payload": {"type": "message", "content": [{"text": COMPLETION}]}},
        {"timestamp": AT, "type": "event_msg", "payload": {"type": "token_count", "info": info, "key": KEY}},
    )


def openai_batch() -> str:
    body = {
        "id": "chatcmpl-canary4",
        "created": 1793534400,
        "model": "gpt-4o",
        "usage": OPENAI_USAGE,
        "choices": CHOICES,
    }
    response = {"status_code": 200, "request_id": "r", "body": body}
    return lines({"id": "batch_req_1", "custom_id": EMAIL, "response": response, "error": None})


def anthropic_batch() -> str:
    message = {
        "id": "msg_canary2",
        "model": "claude-sonnet-4-5-20250929",
        "usage": {**ANTHROPIC_USAGE, "service_tier": "batch"},
        "content": [{"type": "text", "text": COMPLETION}],
    }
    return lines({"custom_id": EMAIL, "result": {"type": "succeeded", "message": message}})


FORMATS = {
    "response_log": ("response_log/a.jsonl", response_log),
    "usage_table": ("usage_table/a.csv", usage_table),
    "litellm": ("litellm/a.jsonl", litellm),
    "langfuse": ("langfuse/a.json", langfuse),
    "otel_genai": ("otel_genai/a.json", otel_genai),
    "claude_code": ("claude_code/project/s.jsonl", claude_code),
    "codex_cli": ("codex_cli/2026/11/01/rollout-s1.jsonl", codex_cli),
    "openai_batch": ("openai_batch/out.jsonl", openai_batch),
    "anthropic_batch": ("anthropic_batch/2026-11-01/out.jsonl", anthropic_batch),
}


def test_every_request_log_format_is_planted() -> None:
    assert set(FORMATS) == {source for source, role in SOURCES.items() if role == "log"}


@pytest.fixture(scope="module")
def planted_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("planted")
    for path, text in FORMATS.values():
        land(home, path, text())
    environment = {**os.environ, "TOKENMART_NOW": "2026-11-22T12:00:00Z", "TOKENMART_SETTLE_SECONDS": "0"}
    command = [sys.executable, "-m", "assets.cli", "--home", str(home), "run", "--verbose"]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300, check=True)
    (home / "said").mkdir()
    (home / "said" / "run.log").write_bytes(said.stdout + said.stderr)
    return home


def test_every_format_was_taken_in(planted_home: Path) -> None:
    ledger = pl.read_parquet(planted_home / "lake" / "core__landed_files" / "all.parquet")
    taken = dict(ledger.group_by("source").agg(pl.col("accepted").sum()).iter_rows())
    assert {source: count > 0 for source, count in taken.items()} == dict.fromkeys(FORMATS, True)
    assert ledger["quarantined"].sum() == 1


def test_no_canary_is_found_in_lake_marts_logs_or_dagster(planted_home: Path) -> None:
    found = {
        (path.relative_to(planted_home).as_posix(), canary)
        for folder in ("lake", "marts", "dagster", "said")
        for path in sorted((planted_home / folder).rglob("*"))
        if path.is_file() and not path.is_symlink()
        for text in every_text(path)
        for canary in CANARIES
        if canary.encode() in text
    }
    assert not found


def every_text(path: Path) -> Iterator[bytes]:
    """A file's raw bytes, and what it says once decoded."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield repr(pl.read_parquet(path).rows()).encode()
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            for (table,) in connection.sql("select table_name from information_schema.tables").fetchall():
                yield repr(connection.table(table).fetchall()).encode()
    if path.suffix in {".sqlite", ".db"}:
        with sqlite3.connect(path) as connection:
            yield "\n".join(connection.iterdump()).encode()
