"""The anthropic_usage connector: message usage report of the Admin API, additive token classes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.anthropic_usage import CONNECTOR
from pipelines.quantities import LEAF_COLUMNS
from tests.unit.connectors.money_reading import MoneyReading, land_json, read_money


def usage(**changes: Any) -> dict[str, Any]:
    result = {
        "uncached_input_tokens": 1500,
        "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
        "cache_read_input_tokens": 200,
        "output_tokens": 600,
        "server_tool_use": {"web_search_requests": 0},
        "api_key_id": "apikey_01",
        "workspace_id": "wrkspc_a",
        "account_id": None,
        "model": "claude-sonnet-4-5-20250929",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
    }
    return {**result, **changes}


def bucket(*results: Any, day: int = 1) -> dict[str, Any]:
    starts, ends = f"2026-11-0{day}T00:00:00Z", f"2026-11-0{day + 1}T00:00:00Z"
    return {"starting_at": starts, "ending_at": ends, "results": list(results)}


def read(tmp_path: Path, *buckets: Any, **keywords: Any) -> MoneyReading:
    document = {"data": list(buckets), "has_more": False, "next_page": None}
    return read_money(CONNECTOR, land_json(tmp_path, "anthropic_usage", document, **keywords))


def test_the_four_input_classes_stand_side_by_side(tmp_path: Path) -> None:
    # The opposite of OpenAI: nothing is inside anything, total input is 1500 + 1000 + 500 + 200 = 3200.
    reading = read(tmp_path, bucket(usage()))
    row = reading.usage.row(0, named=True)
    assert {name: row[name] for name in LEAF_COLUMNS if row[name]} == {
        "input_uncached_tokens": 1500,
        "cache_write_1h_tokens": 1000,
        "cache_write_5m_tokens": 500,
        "cache_read_tokens": 200,
        "output_tokens": 600,
    }
    assert (row["result_kind"], row["context_band"], row["api_key_id"]) == ("messages", "0-200k", "apikey_01")
    assert (row["requests"], reading.broken) == (None, [])


@pytest.mark.parametrize(
    ("geo", "region"),
    [("us", "us"), ("global", "unspecified"), ("not_available", "unspecified"), (None, "unspecified")],
)
def test_only_a_named_geography_is_a_region(tmp_path: Path, geo: str | None, region: str) -> None:
    assert read(tmp_path, bucket(usage(inference_geo=geo))).usage["region"].to_list() == [region]


def test_web_searches_are_a_second_row_of_the_same_record(tmp_path: Path) -> None:
    reading = read(
        tmp_path, bucket(usage(server_tool_use={"web_search_requests": 10}), usage(model="claude-haiku-4-5"))
    )
    assert reading.usage["record_number"].to_list() == [1, 1, 2]
    assert reading.usage["meter"].to_list() == [None, "web_search_requests", None]
    assert reading.usage["quantity"].to_list() == [None, Decimal(10), None]
    assert reading.usage["output_tokens"].to_list() == [600, 0, 600]  # tokens are not repeated on the meter's row


@pytest.mark.parametrize(
    ("tier", "speed", "expected"),
    [
        ("standard", None, "standard"),
        ("batch", "standard", "batch"),
        ("priority", None, "priority"),
        ("flex_discount", None, "flex_discount"),
        ("standard", "fast", "fast"),
        (None, "fast", "fast"),
        ("priority", "fast", "priority_fast"),
        (None, None, "standard"),
    ],
)
def test_tier_and_speed_become_one_tier(tmp_path: Path, tier: str | None, speed: str | None, expected: str) -> None:
    assert read(tmp_path, bucket(usage(service_tier=tier, speed=speed))).usage["service_tier"].to_list() == [expected]


def test_the_default_workspace_is_null_in_a_grouped_report(tmp_path: Path) -> None:
    reading = read(tmp_path, bucket(usage(), usage(workspace_id=None)))
    assert reading.usage["account"].to_list() == ["wrkspc_a", "default"]
    assert reading.days == [("default", "2026-11-01T00:00:00Z", True), ("wrkspc_a", "2026-11-01T00:00:00Z", True)]


@pytest.mark.parametrize(("account", "expected"), [("default", "*"), ("org-b", "org-b")])
def test_an_ungrouped_report_is_any_workspace_or_the_folder(tmp_path: Path, account: str, expected: str) -> None:
    bare = usage(workspace_id=None, model=None, api_key_id=None, service_tier=None, context_window=None)
    row = read(tmp_path, bucket(bare), account=account).usage.row(0, named=True)
    assert (row["account"], row["model"], row["service_tier"]) == (expected, "*", "standard")


def test_an_absent_cache_creation_is_no_fault_and_an_empty_day_is_covered(tmp_path: Path) -> None:
    reading = read(tmp_path, bucket(usage(cache_creation=None, server_tool_use=None)), bucket(day=2))
    assert reading.usage["cache_write_5m_tokens"].to_list() == [0]
    assert [start for _, start, _ in reading.days] == ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"]
    assert reading.buckets["result_kind"].to_list() == ["messages", "messages"]


@pytest.mark.parametrize(
    ("changes", "code", "column"),
    [
        ({"output_tokens": "many"}, "bad_token_count", "output_tokens"),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 0.5}}, "bad_token_count", "ephemeral_5m_input_tokens"),
        ({"cache_creation": 7}, "type_error", "cache_creation"),
        ({"service_tier": 1}, "type_error", "service_tier"),
        (
            dict.fromkeys(
                ["uncached_input_tokens", "cache_creation", "cache_read_input_tokens", "output_tokens"], None
            ),
            "missing_usage",
            "uncached_input_tokens",
        ),
    ],
)
def test_one_unreadable_result_is_rejected_and_the_rest_goes_on(
    tmp_path: Path, changes: dict[str, Any], code: str, column: str
) -> None:
    reading = read(tmp_path, bucket(usage(**changes), usage()))
    assert reading.reasons == [(1, code, column)]
    assert reading.usage["record_number"].to_list() == [2]
    assert reading.days == [("wrkspc_a", "2026-11-01T00:00:00Z", False)]


def test_offsets_are_read_as_utc(tmp_path: Path) -> None:
    shifted = {"starting_at": "2026-11-01T02:00:00+02:00", "ending_at": "2026-11-02T00:00:00", "results": [usage()]}
    assert read(tmp_path, shifted).days == [("wrkspc_a", "2026-11-01T00:00:00Z", True)]


def test_people_stay_in_the_raw_file(tmp_path: Path) -> None:
    secret = "canary-19c4"
    planted = usage(account_id=f"user_{secret}", service_account_id=secret, actor={"email": f"{secret}@example.org"})
    assert secret not in read(tmp_path, bucket(planted)).text()
