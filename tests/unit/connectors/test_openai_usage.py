"""The openai_usage connector: pages of the organization usage API, old and new meaning of its fields."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.base import LandedFile
from pipelines.connectors.openai_usage import CONNECTOR
from pipelines.quantities import INPUT_LEAF_COLUMNS, LEAF_COLUMNS, OUTPUT_LEAF_COLUMNS
from tests.unit.connectors.money_reading import MoneyReading, land_bytes, land_json, read_money

NOV_1 = 1793491200  # 2026-11-01T00:00:00Z
DAY = 86400


def completion(**changes: Any) -> dict[str, Any]:
    """A text-only result of today's API: 1000 = 500 uncached + 400 cached + 100 written."""
    result = {
        "object": "organization.usage.completions.result",
        "input_tokens": 1000,
        "input_uncached_tokens": 500,
        "input_cached_tokens": 400,
        "input_cache_write_tokens": 100,
        "output_tokens": 60,
        "num_model_requests": 5,
        "project_id": "proj_a",
        "user_id": None,
        "api_key_id": "key_1",
        "model": "gpt-5.5-2026-04-23",
        "batch": False,
        "service_tier": "default",
    }
    return {**result, **changes}


def bucket(*results: Any, start: int = NOV_1, end: int = NOV_1 + DAY) -> dict[str, Any]:
    return {"object": "bucket", "start_time": start, "end_time": end, "results": list(results)}


def page(*buckets: Any, has_more: bool = False) -> dict[str, Any]:
    return {"object": "page", "data": list(buckets), "has_more": has_more, "next_page": None}


def read(tmp_path: Path, *buckets: Any, **keywords: Any) -> MoneyReading:
    return read_money(CONNECTOR, land_json(tmp_path, "openai_usage", page(*buckets), **keywords))


def leaves(reading: MoneyReading) -> dict[str, int]:
    row = reading.usage.row(0, named=True)
    return {name: row[name] for name in LEAF_COLUMNS if row[name]}


def test_the_documented_example_splits_into_leaves_that_sum_to_its_totals(tmp_path: Path) -> None:
    # The API reference: 1000 = 500 uncached + 400 cached + 100 written; 500 = 400 text + 50 audio + 50 image.
    example = completion(
        input_text_tokens=400,
        input_audio_tokens=50,
        input_image_tokens=50,
        input_cached_text_tokens=300,
        input_cached_audio_tokens=50,
        input_cached_image_tokens=50,
        output_tokens=500,
        output_text_tokens=400,
        output_audio_tokens=50,
        output_image_tokens=50,
    )
    reading = read(tmp_path, bucket(example))
    row = reading.usage.row(0, named=True)
    assert leaves(reading) == {
        "input_uncached_tokens": 400,
        "input_audio_tokens": 50,
        "input_image_tokens": 50,
        "cache_read_tokens": 350,  # 300 text + 50 image: cached images have no leaf of their own
        "cache_read_audio_tokens": 50,
        "cache_write_unknown_tokens": 100,
        "output_tokens": 400,
        "output_audio_tokens": 50,
        "output_image_tokens": 50,
    }
    assert sum(row[name] for name in INPUT_LEAF_COLUMNS) == 1000
    assert sum(row[name] for name in OUTPUT_LEAF_COLUMNS) == 500
    assert reading.broken == []


def test_cached_tokens_are_inside_input_and_counted_once(tmp_path: Path) -> None:
    # The trap of counting 1000 + 400: the leaves must sum to 1000.
    assert leaves(read(tmp_path, bucket(completion()))) == {
        "input_uncached_tokens": 500,
        "cache_read_tokens": 400,
        "cache_write_unknown_tokens": 100,
        "output_tokens": 60,
    }


def test_an_older_response_without_uncached_and_cache_write_is_derived_not_zero(tmp_path: Path) -> None:
    old = completion(input_uncached_tokens=None, input_cache_write_tokens=None, input_cached_tokens=400)
    assert leaves(read(tmp_path, bucket(old))) == {
        "input_uncached_tokens": 600,  # 1000 − 400
        "cache_read_tokens": 400,
        "output_tokens": 60,
    }


@pytest.mark.parametrize("absent", ["input_uncached_tokens", "input_cached_tokens", "input_cache_write_tokens"])
def test_any_one_absent_part_follows_from_the_other_two(tmp_path: Path, absent: str) -> None:
    full = leaves(read(tmp_path, bucket(completion())))
    assert leaves(read(tmp_path, bucket(completion(**{absent: None})))) == full


def test_parts_that_do_not_sum_to_the_whole_are_quarantined(tmp_path: Path) -> None:
    reading = read(tmp_path, bucket(completion(input_uncached_tokens=501), completion(model="gpt-4o")))
    assert reading.reasons == [(1, "token_sum_mismatch", "input_tokens")]
    assert reading.usage["record_number"].to_list() == [2]
    assert reading.days == [("proj_a", "2026-11-01T00:00:00Z", False)]


def test_cached_above_input_leaves_a_negative_leaf_for_the_contract(tmp_path: Path) -> None:
    wrong = completion(input_uncached_tokens=None, input_cache_write_tokens=None, input_cached_tokens=1100)
    reading = read(tmp_path, bucket(wrong))
    assert reading.usage["input_uncached_tokens"].to_list() == [-100]
    assert [column for column, _ in reading.broken] == ["input_uncached_tokens"]


def test_cache_writes_are_split_by_lifetime(tmp_path: Path) -> None:
    written = completion(input_cache_write_30m_tokens=70, input_cache_write_12h_tokens=20)
    found = leaves(read(tmp_path, bucket(written)))
    assert (found["cache_write_30m_tokens"], found["cache_write_12h_tokens"]) == (70, 20)
    assert found["cache_write_unknown_tokens"] == 10  # 100 − 70 − 20


def test_audio_counts_before_2026_07_15_include_cached_audio(tmp_path: Path) -> None:
    # text 700 + audio 300 = all 1000 input tokens: the older meaning, 120 of the 300 were cached.
    old = completion(
        input_uncached_tokens=None,
        input_cache_write_tokens=None,
        input_text_tokens=700,
        input_audio_tokens=300,
        input_cached_audio_tokens=120,
    )
    assert leaves(read(tmp_path, bucket(old))) == {
        "input_uncached_tokens": 420,  # 600 uncached − 180 audio
        "input_audio_tokens": 180,  # 300 − 120
        "cache_read_tokens": 280,  # 400 − 120
        "cache_read_audio_tokens": 120,
        "output_tokens": 60,
    }


def test_audio_counts_since_2026_07_15_are_uncached(tmp_path: Path) -> None:
    # text 320 + audio 180 = the 500 uncached tokens: today's meaning.
    new = completion(input_text_tokens=320, input_audio_tokens=180, input_cached_audio_tokens=120)
    assert leaves(read(tmp_path, bucket(new))) == {
        "input_uncached_tokens": 320,
        "input_audio_tokens": 180,
        "cache_read_tokens": 280,
        "cache_read_audio_tokens": 120,
        "cache_write_unknown_tokens": 100,
        "output_tokens": 60,
    }


def test_text_counts_of_a_response_of_october_2025_equal_the_uncached_ones(tmp_path: Path) -> None:
    # A published account report: 59200 in, 53440 uncached, 5760 cached, 53440 text, no cache-write field yet.
    row = completion(
        input_tokens=59200,
        input_uncached_tokens=53440,
        input_cached_tokens=5760,
        input_cache_write_tokens=None,
        input_text_tokens=53440,
        input_audio_tokens=0,
        output_tokens=10646,
    )
    expected = {"input_uncached_tokens": 53440, "cache_read_tokens": 5760, "output_tokens": 10646}
    assert leaves(read(tmp_path, bucket(row))) == expected


@pytest.mark.parametrize(
    ("batch", "tier", "expected"),
    [
        (True, "default", "batch"),
        (True, None, "batch"),
        (False, "fast", "priority"),
        (False, "priority", "priority"),
        (False, "flex", "flex"),
        (False, "scale", "scale"),
        (None, None, "standard"),
        (False, "quantum mode", "quantum_mode"),  # unknown: stays itself, so that it shows as unpriced
    ],
)
def test_batch_and_service_tier_become_one_tier(
    tmp_path: Path, batch: bool | None, tier: str | None, expected: str
) -> None:
    reading = read(tmp_path, bucket(completion(batch=batch, service_tier=tier)))
    assert reading.usage["service_tier"].to_list() == [expected]


@pytest.mark.parametrize(
    ("kind", "fields", "meter", "quantity", "requests"),
    [
        ("images", {"images": 2, "num_model_requests": 2}, "images", 2, 2),
        ("audio_speeches", {"characters": 45, "num_model_requests": 1}, "characters", 45, 1),
        ("audio_transcriptions", {"seconds": 20, "num_model_requests": 1}, "audio_seconds", 20, 1),
        ("vector_stores", {"usage_bytes": 1024}, "vector_store_bytes", 1024, None),
        ("code_interpreter_sessions", {"num_sessions": 3}, "code_interpreter_sessions", 3, None),
        ("file_searches", {"num_requests": 7}, "file_search_requests", 7, None),
        ("web_searches", {"num_requests": 4, "num_model_requests": 2}, "web_search_requests", 4, 2),
    ],
)
def test_what_is_not_counted_in_tokens_becomes_a_meter(
    tmp_path: Path, kind: str, fields: dict[str, int], meter: str, quantity: int, requests: int | None
) -> None:
    result = {"object": f"organization.usage.{kind}.result", "project_id": None, **fields}
    row = read(tmp_path, bucket(result)).usage.row(0, named=True)
    assert (row["result_kind"], row["meter"], row["quantity"], row["requests"]) == (
        kind,
        meter,
        Decimal(quantity),
        requests,
    )
    assert sum(row[name] for name in LEAF_COLUMNS) == 0


def test_embeddings_and_moderations_are_input(tmp_path: Path) -> None:
    kinds = [{"object": f"organization.usage.{k}.result", "input_tokens": 16} for k in ("embeddings", "moderations")]
    usage = read(tmp_path, *(bucket(kind) for kind in kinds)).usage
    assert usage["embedding_input_tokens"].to_list() == [16, 0]
    assert usage["input_uncached_tokens"].to_list() == [0, 16]


def test_an_empty_day_is_covered_and_has_no_rows(tmp_path: Path) -> None:
    empty = bucket(start=NOV_1 + DAY, end=NOV_1 + 2 * DAY)
    reading = read(tmp_path, bucket(completion()), empty)
    assert reading.days == [("proj_a", "2026-11-01T00:00:00Z", True), ("proj_a", "2026-11-02T00:00:00Z", True)]
    assert reading.buckets["result_kind"].to_list() == ["completions"] * 2


def test_every_account_of_the_file_is_covered_on_every_day(tmp_path: Path) -> None:
    other_day = bucket(completion(project_id="proj_b"), start=NOV_1 + DAY, end=NOV_1 + 2 * DAY)
    days = read(tmp_path, bucket(completion()), other_day).days
    assert [(account, start[:10]) for account, start, _ in days] == [
        ("proj_a", "2026-11-01"),
        ("proj_a", "2026-11-02"),
        ("proj_b", "2026-11-01"),
        ("proj_b", "2026-11-02"),
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("usage/completions/2026.json", "completions"),
        ("web_search_calls.json", "web_searches"),
        ("november.json", "unknown"),
    ],
)
def test_a_file_of_empty_buckets_takes_its_endpoint_from_the_path_or_from_nowhere(
    tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    assert read(tmp_path, bucket(), name=name).buckets["result_kind"].to_list() == [kind]


def test_a_page_with_more_to_come_holds_whole_buckets(tmp_path: Path) -> None:
    file = land_json(tmp_path, "openai_usage", page(bucket(completion()), has_more=True))
    assert read_money(CONNECTOR, file).days == [("proj_a", "2026-11-01T00:00:00Z", True)]


def test_a_clipped_first_bucket_keeps_its_own_edges(tmp_path: Path) -> None:
    # The cookbook's first bucket runs from 1736616660 to 1736640000: 2025-01-11T17:31:00Z to midnight.
    row = read(tmp_path, bucket(completion(), start=1736616660, end=1736640000)).usage.row(0, named=True)
    assert f"{row['bucket_start']:%Y-%m-%d %H:%M} {row['bucket_end']:%d %H:%M}" == "2025-01-11 17:31 12 00:00"


@pytest.mark.parametrize(("account", "expected"), [("default", "*"), ("team-x", "team-x")])
def test_without_any_project_the_folder_is_the_account_or_any(tmp_path: Path, account: str, expected: str) -> None:
    ungrouped = completion(project_id=None, model=None)
    row = read(tmp_path, bucket(ungrouped), account=account).usage.row(0, named=True)
    assert (row["account"], row["model"]) == (expected, "*")


def test_a_null_project_beside_others_is_the_default_project(tmp_path: Path) -> None:
    reading = read(tmp_path, bucket(completion(), completion(project_id=None)), account="team-x")
    assert reading.usage["account"].to_list() == ["proj_a", "default"]


def test_pages_come_as_document_array_or_lines_with_the_same_rows(tmp_path: Path) -> None:
    pages = [
        page(bucket(completion())),
        page(bucket(completion(model="gpt-4o"), start=NOV_1 + DAY, end=NOV_1 + 2 * DAY)),
    ]
    as_array = read_money(CONNECTOR, land_json(tmp_path, "openai_usage", pages, name="a"))
    lines = "\r\n".join(json.dumps(one) for one in pages) + "\r\n\r\n"
    as_lines = read_money(CONNECTOR, land_bytes(tmp_path, "openai_usage", lines, name="b"))
    assert as_array.usage["record_number"].to_list() == [1, 2]
    assert as_array.usage.equals(as_lines.usage)


def test_a_bucket_fetched_again_into_the_same_file_counts_once_and_the_later_one(tmp_path: Path) -> None:
    first, again = page(bucket(completion())), page(bucket(completion(num_model_requests=6)))
    reading = read_money(CONNECTOR, land_json(tmp_path, "openai_usage", [first, again]))
    assert reading.usage["requests"].to_list() == [6]
    assert reading.reasons == [(1, "superseded_in_file", None)]
    assert reading.days == [("proj_a", "2026-11-01T00:00:00Z", True)]


@pytest.mark.parametrize(
    ("changes", "code", "column"),
    [
        ({"input_tokens": None}, "missing_usage", "input_tokens"),
        ({"output_tokens": "60"}, "bad_token_count", "output_tokens"),
        ({"input_tokens": 12.5}, "bad_token_count", "input_tokens"),
        ({"input_tokens": 2**63}, "bad_token_count", "input_tokens"),
        ({"input_tokens": True}, "bad_token_count", "input_tokens"),
        ({"model": 4}, "type_error", "model"),
        ({"project_id": 4}, "type_error", "project_id"),
        ({"batch": "yes"}, "type_error", "batch"),
        ({"object": "organization.usage.decisions.result"}, "unknown_result_object", "object"),
    ],
)
def test_one_unreadable_result_is_rejected_and_its_bucket_is_not_complete(
    tmp_path: Path, changes: dict[str, Any], code: str, column: str
) -> None:
    reading = read(tmp_path, bucket(completion(**changes), completion()))
    assert reading.reasons == [(1, code, column)]
    assert reading.usage["record_number"].to_list() == [2]
    assert [complete for account, _, complete in reading.days if account == "proj_a"] == [False]


@pytest.mark.parametrize("start", [None, "soon", 1793491200000, NOV_1 + DAY])
def test_a_bucket_without_usable_times_covers_nothing(tmp_path: Path, start: Any) -> None:
    # 1793491200000 are milliseconds, which would be the year 58803.
    reading = read(tmp_path, bucket(completion(), start=start))
    assert reading.reasons == [(1, "bad_timestamp", "bucket_start")]
    assert reading.days == []


def test_members_and_unknown_fields_stay_in_the_raw_file(tmp_path: Path) -> None:
    secret = "canary-7f3a"
    planted = completion(
        user_id=f"user-{secret}", user_email=f"{secret}@example.org", prompt=secret, api_key_name=secret
    )
    assert secret not in read(tmp_path, bucket(planted)).text()


@pytest.mark.real_data
def test_every_example_of_the_api_reference_is_read_whole(shared_data: Path) -> None:
    files = sorted((shared_data / "formats" / "openai_admin").glob("get_organization_usage_*.json"))
    assert len(files) == 10
    for path in files:
        reading = read_money(CONNECTOR, LandedFile("openai_usage", path, path.name, "0123456789abcdef"))
        assert (len(reading.usage), reading.reasons, reading.broken) == (1, [], []), path.name
        assert reading.days == [("*", "2024-11-01T00:00:00Z", True)]
