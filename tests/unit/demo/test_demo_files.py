"""The landed files, read back in plain Python: same seed same bytes, and the identities of a coherent quarter."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from pipelines.demo.expectations import demo_expectations
from pipelines.demo.generator import write_demo
from pipelines.demo.scenario import DEMO_NIGHTS, load_scenario
from pipelines.demo.traffic import build_calls
from pipelines.demo.writers_gateway import CANARY
from pipelines.errors import UsageError

SCALE, SEED = 0.05, 7

Key = tuple[str, str, str, str]


def day_of(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()


def gateway_calls(home: Any) -> dict[str, dict[str, Any]]:
    """The first line of each request id; lines that cannot be read are left out."""
    calls: dict[str, dict[str, Any]] = {}
    for record in home.records("response_log"):
        body = record.get("response", {})
        usage = body.get("usage") or record.get("usage")
        request_id = body.get("id") or record.get("request_id")
        if usage and request_id and "timestamp" in record and "model" in record and "invalid" not in request_id:
            calls.setdefault(request_id, {**record, "usage": usage})
    return calls


def openai_leaves(usage: dict[str, Any]) -> Counter[str]:
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return Counter(
        input=prompt,
        cached=details["cached_tokens"],
        written=details.get("cache_write_tokens", 0),
        output=usage.get("completion_tokens", usage.get("output_tokens")),
    )


def anthropic_leaves(usage: dict[str, Any]) -> Counter[str]:
    return Counter(
        input=usage["input_tokens"],
        cached=usage["cache_read_input_tokens"],
        written_5m=usage["cache_creation"]["ephemeral_5m_input_tokens"],
        written_1h=usage["cache_creation"]["ephemeral_1h_input_tokens"],
        output=usage["output_tokens"],
        searches=usage.get("server_tool_use", {}).get("web_search_requests", 0),
    )


def logged_openai(home: Any) -> dict[Key, Counter[str]]:
    """Day, project, model, tier → tokens of calls that any log holds, each id once."""
    calls: dict[str, tuple[Key, Counter[str]]] = {}
    for request_id, record in gateway_calls(home).items():
        if record["provider"] == "openai":
            tier = record["service_tier"].replace("default", "standard")
            key = (record["timestamp"][:10], record["account"], record["model"], tier)
            calls[request_id] = (key, openai_leaves(record["usage"]))
    sums: dict[Key, Counter[str]] = defaultdict(Counter)
    for key, leaves in calls.values():
        sums[key] += leaves
    return sums


def claude_messages(home: Any) -> dict[str, dict[str, Any]]:
    """Message id → the row with the largest output of all session files."""
    messages: dict[str, dict[str, Any]] = {}
    for record in home.records("claude_code"):
        if record["type"] == "assistant":
            message = record["message"]
            known = messages.get(message["id"])
            if known is None or known["message"]["usage"]["output_tokens"] < message["usage"]["output_tokens"]:
                messages[message["id"]] = record
    return messages


def logged_anthropic(home: Any) -> dict[Key, Counter[str]]:
    sums: dict[Key, Counter[str]] = defaultdict(Counter)
    for record in gateway_calls(home).values():
        if record["provider"] == "anthropic":
            usage = record["usage"]
            key = (record["timestamp"][:10], record["account"], record["model"], usage["service_tier"])
            sums[key] += anthropic_leaves(usage)
    for record in claude_messages(home).values():
        message = record["message"]
        key = (record["timestamp"][:10], "default", message["model"], "standard")
        sums[key] += anthropic_leaves(message["usage"])
    return sums


def unlogged(provider: str) -> dict[Key, Counter[str]]:
    calls = build_calls(load_scenario(), seed=SEED, scale=SCALE)
    sums: dict[Key, Counter[str]] = defaultdict(Counter)
    for row in calls.filter((pl.col("source") == "unlogged") & (pl.col("provider") == provider)).iter_rows(named=True):
        key = (row["usage_date"].isoformat(), row["account"], row["model"], row["service_tier"])
        sums[key] += Counter(input=row["input_uncached_tokens"], output=row["output_tokens"])
    return sums


def test_same_seed_gives_the_same_bytes(first_night, tmp_path):
    write_demo(tmp_path, night=1, seed=SEED, scale=SCALE)
    again = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert again == first_night.all_bytes()


def test_another_seed_gives_other_traffic(first_night, tmp_path):
    write_demo(tmp_path, night=1, seed=SEED + 1, scale=SCALE)
    name = "landing/response_log/gateway/2026-07.jsonl.gz"
    assert (tmp_path / name).read_bytes() != first_night.all_bytes()[name]


def test_files_are_settled_before_the_nights_clock(first_night):
    clock = datetime.fromisoformat(DEMO_NIGHTS[0][1]).timestamp()
    assert {path.stat().st_mtime for path in first_night.files("response_log")} == {clock - 1800}


def test_every_source_of_the_demo_has_files_and_a_label_says_synthetic(both_nights):
    sources = {path.name for path in (both_nights.path / "landing").iterdir()}
    assert sources == {
        "response_log",
        "litellm",
        "claude_code",
        "openai_usage",
        "openai_costs",
        "anthropic_usage",
        "anthropic_costs",
        "focus",
        "prometheus",
    }
    assert "Synthetic" in (both_nights.path / "DEMO.md").read_text()


@pytest.mark.parametrize(("night", "scale"), [(3, 1.0), (1, 0.0)])
def test_an_impossible_demo_is_refused(tmp_path, night, scale):
    with pytest.raises(UsageError):
        write_demo(tmp_path, night=night, scale=scale)


def test_openai_usage_is_what_was_logged_plus_what_was_not(both_nights):
    reported: dict[Key, Counter[str]] = {}
    for _, bucket, result in both_nights.results("openai_usage"):
        if result["object"].endswith("completions.result"):
            tier = "batch" if result["batch"] else "standard"
            key = (day_of(bucket["start_time"]), result["project_id"], result["model"], tier)
            reported[key] = Counter(
                input=result["input_tokens"],
                cached=result["input_cached_tokens"],
                written=result.get("input_cache_write_tokens", 0),
                output=result["output_tokens"],
            )
    expected = logged_openai(both_nights)
    for key, leaves in unlogged("openai").items():
        expected[key] += leaves
    assert len(reported) > 300
    assert {key: +leaves for key, leaves in reported.items()} == {key: +leaves for key, leaves in expected.items()}


def test_anthropic_usage_is_what_was_logged_plus_what_was_not(both_nights):
    reported: dict[Key, Counter[str]] = {}
    for _, bucket, result in both_nights.results("anthropic_usage"):
        account = result["workspace_id"] or "default"
        key = (bucket["starting_at"][:10], account, result["model"], result["service_tier"])
        reported[key] = Counter(
            input=result["uncached_input_tokens"],
            cached=result["cache_read_input_tokens"],
            written_5m=result["cache_creation"]["ephemeral_5m_input_tokens"],
            written_1h=result["cache_creation"]["ephemeral_1h_input_tokens"],
            output=result["output_tokens"],
            searches=result["server_tool_use"]["web_search_requests"],
        )
    expected = logged_anthropic(both_nights)
    for key, leaves in unlogged("anthropic").items():
        expected[key] += leaves
    assert len(reported) > 250
    assert {key: +leaves for key, leaves in reported.items()} == {key: +leaves for key, leaves in expected.items()}


def test_first_openai_week_has_the_older_shape_and_later_ones_add_up(both_nights):
    for name, _, result in both_nights.results("openai_usage"):
        if result["object"].endswith("completions.result"):
            is_old = "2026-07-01" in name
            assert ("input_uncached_tokens" in result) is not is_old
            if not is_old:
                parts = ("input_uncached_tokens", "input_cached_tokens", "input_cache_write_tokens")
                assert result["input_tokens"] == sum(result[part] for part in parts)


def test_gateway_log_has_the_promised_duplicates_and_bad_lines(both_nights):
    expected = demo_expectations(night=2, seed=SEED, scale=SCALE)["gateway"]
    lines = both_nights.lines("response_log")
    assert len(lines) == expected["lines"]
    assert len(lines) - len(set(lines)) == expected["duplicate_lines"] > 0
    assert expected["original_lines"] + expected["duplicate_lines"] + expected["invalid_lines"] == len(lines)
    unreadable = len(lines) - sum(1 for _ in both_nights.records("response_log"))
    assert unreadable == expected["invalid"]["truncated"] == 3


def test_reused_ids_carry_other_content(both_nights):
    contents: dict[str, set[str]] = defaultdict(set)
    for line in both_nights.lines("response_log"):
        if '"request_id":' in line and line.endswith("}"):
            contents[json.loads(line).get("request_id")].add(line)
    assert sum(len(lines) > 1 for lines in contents.values()) == 2


def test_raw_logs_hold_text_that_no_table_may_hold(both_nights):
    assert any(CANARY in line for line in both_nights.lines("response_log"))
    assert any(CANARY in line for line in both_nights.lines("claude_code"))
    assert any("@example.com" in line for line in both_nights.lines("response_log"))


def test_late_half_of_12_september_comes_with_night_two(first_night, both_nights):
    late = "2026-09-12.edge-2.jsonl.gz"
    assert late not in {path.name for path in first_night.files("response_log")}
    assert late in {path.name for path in both_nights.files("response_log")}


def test_missing_anthropic_day_comes_with_night_two(first_night, both_nights):
    def days(home):
        return {bucket["starting_at"][:10] for _, bucket, _ in home.results("anthropic_usage")}

    assert days(both_nights) - days(first_night) == {"2026-09-18", "2026-09-30"}


def test_claude_code_repeats_usage_and_resumed_sessions_repeat_messages(both_nights):
    rows = [record for record in both_nights.records("claude_code") if record["type"] == "assistant"]
    messages = claude_messages(both_nights)
    assert len(rows) > 1.5 * len(messages)
    files: dict[str, set[str]] = defaultdict(set)
    for path in both_nights.files("claude_code"):
        for line in path.read_text().splitlines():
            files[json.loads(line)["message"].get("id", "")].add(path.name)
    files.pop("")
    assert any(len(names) > 1 for names in files.values())


def test_sessions_of_the_last_week_grow_in_place(first_night, both_nights):
    before = {path.name: path.read_text() for path in first_night.files("claude_code")}
    after = {path.name: path.read_text() for path in both_nights.files("claude_code")}
    grown = [name for name in before if after[name] != before[name]]
    assert grown
    assert all(len(after[name]) > len(before[name]) for name in grown)


def test_cross_logged_calls_say_the_same_in_both_logs(both_nights):
    gateway = gateway_calls(both_nights)
    both = [record for record in both_nights.records("litellm") if record["request_id"] in gateway]
    assert both
    for record in both:
        assert gateway[record["request_id"]]["usage"]["prompt_tokens"] == record["prompt_tokens"]
        assert gateway[record["request_id"]]["timestamp"][:19] == record["startTime"][:19].replace(" ", "T")


def test_dates_in_the_label_are_the_nights(both_nights):
    label = (both_nights.path / "DEMO.md").read_text()
    assert all(clock in label for _, clock in DEMO_NIGHTS)
