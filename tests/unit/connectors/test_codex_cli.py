"""The codex_cli connector: cumulative counts, response records, forks and replays."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.codex_cli import CONNECTOR
from tests.unit.connectors.reading import Reading, land, read_log


def line(kind: str, payload: Any, at: str = "2026-05-13T09:00:00.000Z") -> dict[str, Any]:
    return {"timestamp": at, "type": kind, "payload": payload}


def meta(session: str = "s-1", **fields: Any) -> dict[str, Any]:
    return line("session_meta", {"id": session, "cwd": "/home/somebody", "model_provider": "openai", **fields})


def context(model: str | None = "gpt-5.2-codex", **fields: Any) -> dict[str, Any]:
    return line("turn_context", {"model": model, **fields})


def usage(given: int, cached: int, output: int, reasoning: int = 0, written: int | None = None) -> dict[str, int]:
    counts = {
        "input_tokens": given,
        "cached_input_tokens": cached,
        "output_tokens": output,
        "reasoning_output_tokens": reasoning,
        "total_tokens": given + output,
    }
    return counts if written is None else {**counts, "cache_write_input_tokens": written}


def event(total: Any, last: Any = None, at: str = "2026-05-13T09:01:00.000Z", **info: Any) -> dict[str, Any]:
    body = {"total_token_usage": total, "last_token_usage": last, **info}
    return line("event_msg", {"type": "token_count", "info": body, "rate_limits": {}}, at)


def record(response: str, used: Any, **fields: Any) -> dict[str, Any]:
    return line("token_usage_record", {"response_id": response, "usage": used, **fields}, "2026-10-01T09:02:00Z")


def reading(tmp_path: Path, *rows: Any) -> Reading:
    path = tmp_path / "rollout.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return read_log(CONNECTOR, land(path, "codex_cli"))


def kept(*readings: Reading) -> pl.DataFrame:
    """The rows that stay when the largest merge_rank of each request wins, as the run does it."""
    together = pl.concat([got.usage for got in readings])
    return together.sort("merge_rank", descending=True).unique("request_id", keep="first", maintain_order=True)


class TestCumulativeCounts:
    def test_calls_are_the_steps_of_the_total(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            meta(),
            context(),
            event(usage(1000, 250, 125, 75), usage(1000, 250, 125, 75)),
            event(usage(3500, 750, 425, 275), usage(2500, 500, 300, 200)),
        )
        columns = ("input_uncached_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")
        # 1000 − 250; (3500 − 1000) − (750 − 250)
        assert got.usage.select(columns).rows() == [(750, 250, 125, 75), (2000, 500, 300, 200)]
        assert got.not_usage == 2

    def test_a_repeated_event_and_one_of_rate_limits_only_are_no_calls(self, tmp_path: Path) -> None:
        limits = line("event_msg", {"type": "token_count", "info": None, "rate_limits": {"primary": {}}})
        same = event(usage(1000, 0, 10), usage(1000, 0, 10))
        got = reading(tmp_path, meta(), context(), limits, same, limits, same, same)
        assert got.column("record_number") == [4]
        assert got.not_usage == 6

    def test_steps_over_many_events_sum_to_the_final_total(self, tmp_path: Path) -> None:
        totals = [(900, 0, 40), (2500, 800, 90), (2500, 800, 90), (9000, 5000, 1912)]
        events = [event(usage(*total)) for total in totals]
        got = reading(tmp_path, meta(), context(), *events)
        assert got.total("input_uncached_tokens") + got.total("cache_read_tokens") == 9000
        assert (got.total("cache_read_tokens"), got.total("output_tokens")) == (5000, 1912)

    def test_a_lost_event_between_two_is_made_up_by_the_total(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            meta(),
            context(),
            event(usage(100, 0, 10), usage(100, 0, 10)),
            "{cut",
            event(usage(400, 0, 40), usage(100, 0, 10)),
        )
        assert got.column("output_tokens") == [10, 30]
        assert got.reasons == [(4, "malformed_json", None)]

    def test_a_file_that_starts_in_the_middle_counts_only_its_own_call(self, tmp_path: Path) -> None:
        got = reading(tmp_path, meta(), context(), event(usage(90_000, 80_000, 900), usage(1000, 600, 20)))
        assert (got.column("input_uncached_tokens"), got.column("output_tokens")) == ([400], [20])

    def test_totals_that_fall_after_a_compaction_start_anew(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            meta(),
            context(),
            event(usage(90_000, 0, 900), usage(90_000, 0, 900)),
            event(usage(5000, 0, 50), usage(5000, 0, 50)),
            event(usage(7000, 0, 70), usage(2000, 0, 20)),
        )
        assert got.column("input_uncached_tokens") == [90_000, 5000, 2000]

    def test_the_total_field_is_not_relied_upon(self, tmp_path: Path) -> None:
        odd = {**usage(10, 0, 5, 3), "total_tokens": 999}
        assert reading(tmp_path, meta(), context(), event(odd, odd)).column("output_tokens") == [5]


class TestContext:
    def test_the_model_is_that_of_the_event_or_of_the_turn_before_it(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            meta(),
            context("gpt-5.2-codex"),
            event(usage(1, 0, 1)),
            context("gpt-5.3-codex"),
            event(usage(2, 0, 2)),
            event(usage(3, 0, 3), model="gpt-5.4-codex"),
        )
        assert got.column("model") == ["gpt-5.2-codex", "gpt-5.3-codex", "gpt-5.4-codex"]

    def test_a_tier_lasts_for_its_turn(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            meta(),
            context(service_tier="priority"),
            event(usage(1, 0, 1)),
            context(service_tier=None),
            event(usage(2, 0, 2)),
        )
        assert got.column("service_tier") == ["priority", "standard"]

    def test_session_and_provider_come_from_the_files_first_meta(self, tmp_path: Path) -> None:
        got = reading(tmp_path, meta("s-9", model_provider="azure"), context(), event(usage(1, 0, 1)))
        assert (got.column("session_id"), got.column("provider")) == (["s-9"], ["azure_openai"])
        assert reading(tmp_path, context(), event(usage(1, 0, 1))).column("provider") == ["openai"]

    def test_a_call_without_any_model_is_rejected(self, tmp_path: Path) -> None:
        got = reading(tmp_path, meta(), event(usage(1, 0, 1)))
        assert got.reasons == [(2, "missing_model", "payload")]


class TestResponseRecords:
    def test_they_count_by_their_own_usage_and_silence_the_events(self, tmp_path: Path) -> None:
        got = reading(
            tmp_path,
            meta(),
            context(turn_id="t1"),
            record("resp_1", usage(100, 40, 10, written=5), turn_token_usage=usage(100, 40, 10)),
            event(usage(100, 40, 10)),
            record("resp_2", usage(300, 90, 20), turn_token_usage=usage(400, 130, 30)),
            event(usage(400, 130, 30)),
        )
        assert got.column("request_id") == ["resp_1", "resp_2"]
        # 100 − 40 − 5, 300 − 90: the cumulative turn usage of 400 is not read
        assert got.column("input_uncached_tokens") == [55, 210]
        assert got.column("cache_write_unknown_tokens") == [5, 0]
        assert got.not_usage == 4

    def test_events_before_the_first_record_still_count(self, tmp_path: Path) -> None:
        got = reading(tmp_path, meta(), context(), event(usage(7, 0, 1)), record("resp_1", usage(5, 0, 2)))
        assert got.column("input_uncached_tokens") == [7, 5]

    def test_a_record_without_usage_is_rejected(self, tmp_path: Path) -> None:
        got = reading(tmp_path, meta(), context(), record("resp_1", None))
        assert got.reasons == [(3, "missing_usage", "payload")]


class TestReplays:
    def test_a_fork_that_replays_turns_counts_only_what_is_new(self, tmp_path: Path) -> None:
        def turns(at: str) -> list[dict[str, Any]]:
            return [
                context(turn_id="t1"),
                event(usage(100, 0, 10), usage(100, 0, 10), at),
                context(turn_id="t2"),
                event(usage(300, 50, 30), usage(200, 50, 20), at),
            ]

        parent = reading(tmp_path, meta("parent"), *turns("2026-05-13T09:00:00Z"))
        fork = reading(
            tmp_path,
            meta("child", forked_from_id="parent"),
            *turns("2026-05-20T09:00:00Z"),
            context(turn_id="t3"),
            event(usage(350, 50, 35), usage(50, 0, 5), "2026-05-20T09:01:00Z"),
        )
        together = kept(parent, fork)
        assert together["output_tokens"].sum() == 35
        times = together.sort("started_at")["started_at"].to_list()
        assert times[:2] == [datetime(2026, 5, 13, 9, tzinfo=UTC)] * 2

    def test_without_turn_ids_the_oldest_session_of_the_lineage_is_the_key(self, tmp_path: Path) -> None:
        first = event(usage(100, 0, 10), usage(100, 0, 10))
        parent = reading(tmp_path, meta("parent"), context(), first)
        fork = reading(
            tmp_path,
            meta("grandchild", forked_from_id="child"),
            meta("child", forked_from_id="parent"),
            context(),
            first,
        )
        assert parent.column("request_id") == fork.column("request_id") == ["parent:100:0:0:10:0"]
        assert fork.column("session_id") == ["grandchild"]

    def test_equal_counts_of_unrelated_sessions_stay_two_calls(self, tmp_path: Path) -> None:
        one = reading(tmp_path, meta("a"), context(), event(usage(100, 0, 10)))
        other = reading(tmp_path, meta("b"), context(), event(usage(100, 0, 10)))
        assert len(kept(one, other)) == 2

    def test_a_replayed_response_record_has_the_same_key(self, tmp_path: Path) -> None:
        one = reading(tmp_path, meta("a"), context(), record("resp_1", usage(5, 0, 1)))
        other = reading(tmp_path, meta("b"), context(), record("resp_1", usage(5, 0, 1)))
        assert len(kept(one, other)) == 1
        assert (CONNECTOR.merge.window, CONNECTOR.merge.on_conflict) == ("global", "largest_rank")


def test_unreadable_calls_are_named_and_other_lines_are_not_calls(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        meta(),
        context(),
        line("response_item", "a text where others have an object"),
        event({**usage(1, 0, 1), "input_tokens": "many"}),
        event(usage(1, 0, 1), at="noon"),
        record("resp_1", {**usage(5, 0, 1), "output_tokens": 1.5}),
    )
    assert got.reasons == [
        (4, "type_error", "payload"),
        (5, "bad_timestamp", "timestamp"),
        (6, "bad_token_count", "output_tokens"),
    ]
    assert got.not_usage == 3


def test_planted_secrets_reach_no_frame(tmp_path: Path) -> None:
    secret = "CANARY-7f3a"
    got = reading(
        tmp_path,
        meta(cwd=secret, instructions=secret, git={"branch": secret}),
        context(cwd=secret, user_instructions=secret),
        line("response_item", {"type": "message", "content": [{"text": secret}], "arguments": secret}),
        event(usage(1, 0, 1)),
        event(usage(2, 0, 2), at=secret),
    )
    assert len(got.usage) == len(got.rejected) == 1
    assert secret not in got.text()


@pytest.mark.real_data
def test_a_fixture_whose_totals_add_reasoning_on_top(shared_data: Path) -> None:
    path = shared_data / "formats/agent_cli/ccusage/codex/sessions/project-alpha/session-alpha.jsonl"
    got = read_log(CONNECTOR, land(path, "codex_cli"))
    columns = ("model", "input_uncached_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")
    # steps 1000/250/125/75 and 2500/500/300/200 as printed in last_token_usage
    assert got.usage.select(columns).rows() == [
        ("gpt-5.2-codex", 750, 250, 125, 75),
        ("gpt-5.3-codex", 2000, 500, 300, 200),
    ]
